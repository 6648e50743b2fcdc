internal import Buffers
internal import Kernels

/// Levels that halve, right on average, `nuqsgd`: |v| arrives as 0 or ν 2⁻ᵏ, k from 0 to s, ν being a norm of the bucket.
///
///     fp32    ν = ‖v‖₂ or the largest |v|
///     codes   a sign and 0, or s + 1 − k, in 4 bits (s ≤ 6) or 8, as `CodeLoops` lays them out
///
/// A magnitude becomes one of the two levels beside it, so that E y = v. The error is about (⅛ + 2⁻ˢ√n) ‖v‖₂²: small values, which a
/// uniform grid of as many levels rounds to 0 or far up, keep their relative error.
///
/// Source: Ramezani-Kebrya et al. 2021, "NUQSGD: Provably communication-efficient data-parallel SGD via nonuniform quantization";
/// algorithms §5.4.
/// - Cost: 4 + 4⌈n b/32⌉ bytes per bucket.
struct NUQSGD: LoopCodec {
  let name = "nuqsgd"
  let grouping: Grouping
  let norm: Norm
  let loops: PowerLoops
  let keepsRemainder = false
  let isUnbiased = true
  var specification: String { "nuqsgd:levels=\(loops.steps),norm=\(norm.rawValue),bucket=\(grouping)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> PowerLoops? {
    var loops = loops
    loops.scale = norm(statistics)
    loops.random = context.random(.stochasticRounding).start
    return loops.scale.isFinite ? loops : nil
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "nuqsgd",
    "a norm of each bucket, halved some number of times, at random so that sums are right on average (Ramezani-Kebrya et al. 2021)",
    keys: [
      ("levels", "halvings, 1 to 126: up to 6 take 4 bits a value, more take 8 (6)"),
      ("norm", "l2, or max: the largest magnitude (max)"),
      ("bucket", "values that share a norm: 'row' of a weight matrix, or a number of elements (512)"),
    ]
  ) { specification in
    let levels = try specification.integer("levels", default: 6, in: 1...126)
    return NUQSGD(
      grouping: try Grouping(specification, key: "bucket", default: .elements(512)),
      norm: try specification.choice("norm", default: Norm.max),
      loops: PowerLoops(bits: levels > 6 ? 8 : 4, steps: levels, rounding: .stochastic, keepsRemainder: false))
  }
}
