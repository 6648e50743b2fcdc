internal import Buffers
internal import Kernels

/// The upper half of each float, `bf16`: 8 bits of exponent and 7 of the fraction, so that nothing needs a scale.
///
///     codes   the upper 16 bits of v, as `CodeLoops` lays them out
///
/// Rounded to the nearest (ties to even), and the loss, which fp32 has exactly, is the residual; or at random, right on average. Nothing
/// becomes infinite: beyond 3.39·10³⁸ the largest finite number is sent.
///
/// Source: algorithms §5.7.
/// - Cost: 4⌈n/2⌉ bytes per group.
struct BF16: LoopCodec {
  let name = "bf16"
  let grouping: Grouping
  let loops: ShortFloatLoops
  var keepsRemainder: Bool { loops.keepsRemainder }
  var isUnbiased: Bool { !keepsRemainder && loops.rounding == .stochastic }
  var specification: String {
    "bf16:rounding=\(RandomRounding(loops.rounding).rawValue),group=\(grouping),feedback=\(keepsRemainder)"
  }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> ShortFloatLoops? {
    guard statistics.largestMagnitude.isFinite else { return nil }
    var loops = loops
    loops.random = context.random(.stochasticRounding).start
    return loops
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "bf16", "16 bits per value: the upper half of a float",
    keys: [
      ("rounding", RandomRounding.meaning), ("group", "values that are encoded together: \(groupMeaning)"),
      ("feedback", "whether the loss is sent later: true or false (true with rounding=nearest)"),
    ]
  ) { specification in
    let rounding = try specification.choice("rounding", default: RandomRounding.nearest)
    return BF16(
      grouping: try Grouping(specification, key: "group"),
      loops: ShortFloatLoops(
        isHalf: false, rounding: rounding.ofLoops,
        keepsRemainder: try specification.flag("feedback", default: rounding == .nearest)))
  }
}
