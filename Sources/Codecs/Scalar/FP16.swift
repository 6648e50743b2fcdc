internal import Buffers
internal import Kernels

/// Half floats, `fp16`, of the values times a power of two (the loss scale).
///
///     fp32    1/s
///     codes   s v as half floats, rounded to the nearest (ties to even), as `CodeLoops` lays them out
///
/// With `scale=auto` s takes the largest magnitude of each group to 2¹⁴ or more and below 2¹⁵: nothing overflows, and what is less than
/// 2⁻³⁸ of it is lost to the residual. With a number, s is that for all groups; a group that has a value of 65 520/s or more is
/// refused like one that is not finite, and `--non-finite` decides, instead of infinity arriving.
///
/// Source: Micikevicius et al. 2018, "Mixed precision training"; algorithms §5.7.
/// - Cost: 4 + 4⌈n/2⌉ bytes per group.
struct FP16: LoopCodec {
  let name = "fp16"
  let grouping: Grouping
  /// s of all groups; nil for one of each.
  let scale: Float?
  let loops: ShortFloatLoops
  var keepsRemainder: Bool { loops.keepsRemainder }
  var specification: String { "fp16:scale=\(scale?.asKey ?? "auto"),group=\(grouping),feedback=\(keepsRemainder)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> ShortFloatLoops? {
    let largest = statistics.largestMagnitude
    guard largest.isFinite else { return nil }
    var loops = loops
    if let scale {
      guard largest * scale < 65_520 else { return nil }
      loops.scale = scale
    } else if largest > 0 {
      loops.scale = Float(sign: .plus, exponent: min(14 - Int(largest.exponent), 126), significand: 1)
    }
    return loops
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "fp16", "16 bits per value: half floats of the values times a power of two",
    keys: [
      ("scale", "the power of two, 2^-14 to 2^30 as a number; auto: one of each group, so that nothing overflows (auto)"),
      ("group", "values that share a scale: \(groupMeaning)"),
      ("feedback", "whether the loss is sent later: true or false (true)"),
    ]
  ) { specification in
    var scale: Float?
    if let text = specification.options["scale"], text != "auto" {
      let number = Float(text) ?? 0
      guard (0x1p-14...0x1p30).contains(number), number == number.binade else {
        throw SpecificationError("'\(specification)': scale is 'auto' or a power of two, 2^-14 to 2^30, not '\(text)'")
      }
      scale = number
    }
    return FP16(
      grouping: try Grouping(specification, key: "group"), scale: scale,
      loops: ShortFloatLoops(
        isHalf: true, rounding: .nearest, keepsRemainder: try specification.flag("feedback", default: true)))
  }
}
