internal import Buffers
internal import Kernels

/// Powers of two, right on average, `natural`: |v| arrives as one of the two powers of two beside it.
///
///     fp32    s, the least power of two that no |v| of the group exceeds, at most 2¹²⁷
///     codes   a sign and 0, or 127 − k for s 2⁻ᵏ, in 8 bits, as `CodeLoops` lays them out
///
/// 2ᵉ(1 + f) is rounded up with the probability f. Below s 2⁻¹²⁶ a value is 0 or s 2⁻¹²⁶ (the paper's nine bits a value are eight
/// relative to the group's scale). The error is at most ⅛ ‖v‖₂², whatever the values are. Only magnitudes above 2¹²⁷ are rounded down
/// in any case.
///
/// Source: Horváth et al. 2022, "Natural compression for distributed deep learning"; algorithms §5.4.
/// - Cost: 4 + 4⌈n/4⌉ bytes per group.
struct Natural: LoopCodec {
  let name = "natural"
  let grouping: Grouping
  let loops: PowerLoops
  var keepsRemainder: Bool { loops.keepsRemainder }
  var isUnbiased: Bool { !keepsRemainder }
  var specification: String { "natural:group=\(grouping),feedback=\(keepsRemainder)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> PowerLoops? {
    loops.scaled(to: statistics, context)
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "natural", "8 bits per value: a power of two, at random so that sums are right on average (Horváth et al. 2022)",
    keys: [
      ("group", "values that share a scale: \(groupMeaning)"), ("feedback", "true: the loss is sent later (false)"),
    ]
  ) { specification in
    Natural(
      grouping: try Grouping(specification, key: "group"),
      loops: PowerLoops(
        bits: 8, steps: 126, rounding: .stochastic, keepsRemainder: try specification.flag("feedback", default: false)))
  }
}
