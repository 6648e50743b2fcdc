internal import Buffers
internal import Kernels

/// One bit per value and the mean magnitude of a group, `ef-sign`: v = gradient + residual arrives as ±s by its sign.
///
///     fp32    s = ‖v‖₁/n over the n values of the group, in fp64
///     uint32  × ⌈n/32⌉: bit e % 32 of word e / 32 is 1 if and only if v[e] ≥ 0
///
/// A value leaves v − s or v + s. It is a contraction by δ = ‖v‖₁²/(n‖v‖₂²): of nothing in a group of equal magnitudes, of nearly
/// everything in one with a single large value. Two means (``OneBit``) lose no more, and take four bytes more of a group. A group of
/// one or two values is sent raw.
///
/// Source: Karimireddy et al. 2019, "Error feedback fixes SignSGD and other gradient compression schemes"; algorithms §3.1.
/// - Cost: 4 + 4⌈n/32⌉ bytes per group.
struct EFSign: LoopCodec {
  let name = "ef-sign"
  let grouping: Grouping
  let loops = SignLoops(keepsRemainder: true)
  var specification: String { "ef-sign:group=\(grouping)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> SignLoops? {
    var loops = loops
    loops.scale = Float(statistics.magnitudeSum / Double(count))
    return loops.scale.isFinite ? loops : nil
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "ef-sign", "one bit per value and the mean magnitude of a group, with error feedback (Karimireddy et al. 2019)",
    keys: [("group", "values that share a scale: \(groupMeaning)")]
  ) { EFSign(grouping: try Grouping($0, key: "group")) }
}
