internal import Buffers
internal import Kernels

/// Integers on a uniform grid over a group, `uniform`, symmetric or from its least to its largest value.
///
///     fp32    s, the largest |v|             or    fp32 low, fp32 high
///     uint32  k, the key of the dither       (only with rounding=dither)
///     codes   q in b bits, as `CodeLoops` lays them out
///
/// Symmetric: q of ±m, m = 2ᵇ⁻¹ − 1, for s q/m; zero is exact. Min–max: q of 0 to 2ᵇ − 1 for low + (high − low) q/(2ᵇ − 1), which
/// is finer if values lie to one side of zero. Rounding is to the nearest (the loss is the residual; ties to even), or at random
/// (right on average), or of v plus dither z, uniform over a step, which the receiver draws as well and subtracts: the error is then
/// independent of v, with the variance of a step² /12, at most a third of that of rounding at random.
///
/// Source: algorithms §5.2. With 8 bits and groups of 256: block-wise quantization (Dettmers et al. 2022).
/// - Cost: 4 or 8 + 4⌈n b/32⌉ bytes per group.
struct Uniform: LoopCodec {
  let name = "uniform"
  let grouping: Grouping
  let loops: GridLoops
  private let rounding: RoundingKey
  var keepsRemainder: Bool { loops.keepsRemainder }
  var isUnbiased: Bool { !keepsRemainder && rounding != .nearest }
  var specification: String {
    let range = loops.hasOffset ? RangeKey.minMax : .symmetric
    return
      "uniform:bits=\(loops.bits),range=\(range.rawValue),rounding=\(rounding.rawValue),group=\(grouping),feedback=\(keepsRemainder)"
  }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> GridLoops? {
    var loops = loops
    let largest = statistics.largestMagnitude
    guard largest.isFinite else { return nil }
    loops.scale = largest
    if loops.hasOffset {
      let (low, high) = statistics.range
      (loops.low, loops.scale) = (low, high - low)
    }
    switch rounding {
    case .nearest: break
    case .stochastic: loops.random = context.random(.stochasticRounding).start
    case .dither: loops.ditherKey = context.random(.dither).words(quad: 0)[0]
    }
    return loops.isFinite ? loops : nil
  }

  private enum RangeKey: String, CaseIterable {
    case symmetric
    case minMax = "min-max"
  }

  private enum RoundingKey: String, CaseIterable {
    case nearest, stochastic, dither

    var ofLoops: Rounding {
      switch self {
      case .nearest: .nearest
      case .stochastic: .stochastic
      case .dither: .dithered
      }
    }
  }

  /// The codec of a specification.
  private init(_ specification: Specification) throws(SpecificationError) {
    let bits = try specification.integer("bits", default: 8, in: 2...16)
    guard GridLoops.bitCounts.contains(bits) else {
      throw SpecificationError("'\(specification)': bits is 2, 4, 8 or 16, not '\(bits)'")
    }
    let range = try specification.choice("range", default: RangeKey.symmetric)
    rounding = try specification.choice("rounding", default: RoundingKey.nearest)
    guard rounding != .dither || range == .symmetric else {
      throw SpecificationError("'\(specification)': rounding=dither takes range=symmetric")
    }
    grouping = try Grouping(specification, key: "group", default: .elements(256))
    let hasFeedback = try specification.flag("feedback", default: rounding == .nearest)
    loops = GridLoops(
      bits: bits, levels: range == .minMax ? 1 << bits - 1 : 1 << (bits - 1) - 1, rounding: rounding.ofLoops,
      hasOffset: range == .minMax, keepsRemainder: hasFeedback)
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "uniform", "2, 4, 8 or 16 bits per value on a uniform grid over each group, rounded as you say",
    keys: [
      ("bits", "bits of a value: 2, 4, 8 or 16 (8)"),
      ("range", "symmetric: up to the largest magnitude; min-max: from the least to the largest value (symmetric)"),
      ("rounding", "nearest, stochastic, or dither, which the receiver subtracts again (nearest)"),
      ("group", "values that share a grid: 'row' of a weight matrix, or a number of elements (256)"),
      ("feedback", "whether the loss is sent later: true or false (true with rounding=nearest)"),
    ]
  ) { try Uniform($0) }
}
