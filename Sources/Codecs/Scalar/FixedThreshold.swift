internal import Buffers
internal import Kernels

/// Three fixed levels, `fixed-threshold`: −θ, 0 or θ, as MXNet's two-bit compression has them.
///
///     fp32    θ
///     codes   −1, 0 or 1 in 2 bits, as `CodeLoops` lays them out: 1 if v ≥ θ, −1 if v ≤ −θ
///
/// v leaves v − θ, v or v + θ. Nothing adapts to the gradient: θ must be of its size. A value that is larger than θ in every
/// exchange leaves a residual that grows without end (the run warns of it), and one that is far smaller waits for θ/|v|
/// exchanges. It is no contraction.
///
/// Source: Apache MXNet, `kvstore/gradient_compression`; algorithms §3.4. MXNet's own bytes are laid out in another way.
/// - Cost: 4 + 4⌈n/16⌉ bytes per group.
struct FixedThreshold: LoopCodec {
  let name = "fixed-threshold"
  let grouping: Grouping
  /// θ.
  let threshold: Float
  let loops = GridLoops(bits: 2, levels: 1, rounding: .down, keepsRemainder: true)
  var specification: String { "fixed-threshold:threshold=\(threshold.asKey),group=\(grouping)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> GridLoops? {
    guard statistics.largestMagnitude.isFinite else { return nil }
    var loops = loops
    loops.scale = threshold
    return loops
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "fixed-threshold", "minus, zero or plus a fixed threshold, with error feedback (as in MXNet)",
    keys: [
      ("threshold", "θ, 1e-30 to 1e30; MXNet's default is 0.5 of sums over samples (0.001)"),
      ("group", "values that are encoded together: \(groupMeaning)"),
    ]
  ) { specification in
    FixedThreshold(
      grouping: try Grouping(specification, key: "group"),
      threshold: Float(try specification.number("threshold", default: 0.001, in: 1e-30...1e30)))
  }
}
