internal import Buffers
internal import Kernels

/// The best levels for values of a given distribution, `codebook`: Lloyd's and Max's for normal or Laplacian values.
///
///     fp32    s, the root mean square of the group
///     codes   a sign and the number of a magnitude, 2 magnitudes in 2 bits or 8 in 4, as `CodeLoops` lays them out
///
/// A value becomes the nearest level, s times one of the table; the loss is the residual. Each level is the mean of what it stands for, so
/// that on values of the distribution no other levels lose less: 0.1175 and 0.0095 of the squared norm of normal values, 0.176
/// and 0.0154 of Laplacian ones. Values beyond the last level arrive in several exchanges. It is no contraction: where few
/// values are far larger than the rest, small ones arrive too large, the error exceeds the values, and residuals grow (the run
/// warns of it).
///
/// Source: Max 1960, "Quantizing for minimum distortion"; Lloyd 1982; algorithms §5.4. The tables are the fixed point of Lloyd's
/// iteration, in fp64.
/// - Cost: 4 + 4⌈n b/32⌉ bytes per group.
struct Codebook: LoopCodec {
  let name = "codebook"
  let grouping: Grouping
  let loops: BookLoops
  private let model: Model
  var specification: String { "codebook:bits=\(loops.bits),model=\(model.rawValue),group=\(grouping)" }

  func loops(for statistics: GroupStatistics, count: Int, context: EncodingContext) -> BookLoops? {
    var loops = loops
    loops.scale = Float((statistics.squareSum / Double(count)).squareRoot())
    return loops.isFinite ? loops : nil
  }

  private enum Model: String, CaseIterable {
    case normal, laplace

    /// The magnitudes for values of variance 1.
    func levels(bits: Int) -> [Float] {
      switch (self, bits) {
      case (.normal, 2): [0.45278, 1.5104176]
      case (.normal, _): [0.128395, 0.3880483, 0.6567591, 0.9423405, 1.2562312, 1.6180464, 2.0690172, 2.7325896]
      case (.laplace, 2): [0.4197557, 1.8339693]
      case (.laplace, _): [0.123986, 0.4048392, 0.7286503, 1.1109841, 1.5777859, 2.1773468, 3.0168582, 4.4310718]
      }
    }
  }

  /// The codec of a specification.
  private init(_ specification: Specification) throws(SpecificationError) {
    let bits = try specification.integer("bits", default: 4, in: 2...4)
    guard bits != 3 else { throw SpecificationError("'\(specification)': bits is 2 or 4, not '3'") }
    model = try specification.choice("model", default: Model.normal)
    grouping = try Grouping(specification, key: "group")
    loops = BookLoops(levels: model.levels(bits: bits))
  }

  /// The entry of the list of codecs.
  static let entry = Registry<any Codec>.Entry(
    "codebook", "2 or 4 bits per value, the levels that lose least of normal or Laplacian values (Lloyd and Max)",
    keys: [
      ("bits", "bits of a value: 2 or 4 (4)"), ("model", "how values are distributed: normal or laplace (normal)"),
      ("group", "values that share a scale: \(groupMeaning)"),
    ]
  ) { try Codebook($0) }
}
