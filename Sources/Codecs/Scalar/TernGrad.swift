internal import Buffers
internal import Kernels

/// Three levels, right on average but for the largest values, `terngrad`: v arrives as −s, 0 or s, and as ±s with the probability
/// |v|/s.
///
///     fp32    s, the largest |v| of the group, at most c σ
///     codes   −1, 0 or 1 in 2 bits, as `CodeLoops` lays them out
///
/// Values beyond c σ count as that much. σ is the root mean square about zero, so that a group of equal values is not clipped away; the
/// paper takes it about the mean, which is nearly 0 in gradients. Nothing stays in the residual: with so large an error, E‖y‖₂² =
/// s‖v‖₁, feedback would grow. The paper shares s between ranks, so that sums are integers; here a group's scale is its rank's
/// own, which is never larger, and owners add floats.
///
/// Source: Wen et al. 2017, "TernGrad: Ternary gradients to reduce communication in distributed deep learning"; algorithms §5.3.
/// - Cost: 4 + 4⌈n/16⌉ bytes per group.
struct TernGrad: LoopCodec {
  let name = "terngrad"
  let grouping: Grouping
  /// c; 0 for no clipping.
  let clip: Float
  let keepsRemainder = false
  var isUnbiased: Bool { clip == 0 }
  let loops = GridLoops(bits: 2, levels: 1, rounding: .stochastic, keepsRemainder: false)
  var specification: String { "terngrad:clip=\(clip.asKey),group=\(grouping)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> GridLoops? {
    var loops = loops
    loops.scale = statistics.largestMagnitude
    guard loops.isFinite else { return nil }
    if clip > 0 {
      let deviation = (statistics.squareSum / Double(count)).squareRoot()
      loops.scale = min(loops.scale, Float(Double(clip) * deviation))
    }
    loops.random = context.random(.stochasticRounding).start
    return loops
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "terngrad",
    "minus, zero or plus the largest magnitude of a group, at random so that sums are right on average (Wen et al. 2017)",
    keys: [
      ("clip", "the largest magnitude that counts, in root mean squares of a group, 1 to 1000; 0: no limit (2.5)"),
      ("group", "values that share a scale: \(groupMeaning)"),
    ]
  ) { specification in
    let clip = Float(try specification.number("clip", default: 2.5, in: 0...1000))
    guard clip == 0 || clip >= 1 else { throw SpecificationError("'\(specification)': clip is 0, or 1 to 1000, not '\(clip)'") }
    return TernGrad(grouping: try Grouping(specification, key: "group"), clip: clip)
  }
}
