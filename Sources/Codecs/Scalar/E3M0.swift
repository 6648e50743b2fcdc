internal import Buffers
internal import Kernels

/// Floats of four bits, `e3m0`: a sign, and 0 or one of seven powers of two.
///
///     fp32    s, the least power of two that no |v| of the group exceeds, at most 2¹²⁷
///     codes   a sign and 0, or 7 − k for s 2⁻ᵏ, k from 0 to 6, in 4 bits, as `CodeLoops` lays them out
///
/// A magnitude becomes the nearest of them (1.5 · 2ᵉ and more is 2ᵉ⁺¹), at most a third off, or at most s 2⁻⁷ if it is less
/// than that; the loss is the residual. With `rounding=stochastic` it becomes one of the two beside it, right on average.
///
/// Source: Douillard et al. 2025, "Streaming DiLoCo with overlapping communication"; frontier F1.3.
/// - Cost: 4 + 4⌈n/8⌉ bytes per group.
struct E3M0: LoopCodec {
  let name = "e3m0"
  let grouping: Grouping
  let loops: PowerLoops
  var keepsRemainder: Bool { loops.keepsRemainder }
  var isUnbiased: Bool { !keepsRemainder && loops.rounding == .stochastic }
  var specification: String {
    "e3m0:rounding=\(RandomRounding(loops.rounding).rawValue),group=\(grouping),feedback=\(keepsRemainder)"
  }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> PowerLoops? {
    loops.scaled(to: statistics, context)
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "e3m0", "4 bits per value: a sign, and zero or one of seven powers of two (Douillard et al. 2025)",
    keys: [
      ("rounding", RandomRounding.meaning), ("group", "values that share a scale: \(groupMeaning)"),
      ("feedback", "whether the loss is sent later: true or false (true with rounding=nearest)"),
    ]
  ) { specification in
    let rounding = try specification.choice("rounding", default: RandomRounding.nearest)
    return E3M0(
      grouping: try Grouping(specification, key: "group"),
      loops: PowerLoops(
        bits: 4, steps: 6, rounding: rounding.ofLoops,
        keepsRemainder: try specification.flag("feedback", default: rounding == .nearest)))
  }
}

/// The key `rounding` of codes that round to the nearest, or at random.
enum RandomRounding: String, CaseIterable {
  case nearest, stochastic

  static let meaning = "nearest, or stochastic: right on average (nearest)"

  init(_ rounding: Rounding) { self = rounding == .stochastic ? .stochastic : .nearest }

  var ofLoops: Rounding { self == .nearest ? .nearest : .stochastic }
}
