internal import Buffers

/// Which tensors cross as principal components, and what the messages of an exchange hold: a pure function of a specification and a layout.
struct PCASettings: Sendable {
  /// A tensor whose rows of `length` values, one after another, are a matrix X that crosses as X U.
  struct Matrix: Sendable {
    /// X as the factors P = X U and U.
    let factors: LowRankSettings.Matrix
    /// The number of rows that cross whole in an exchange, and where they begin in those of all matrices.
    let (sampleCount, samples): (Int, Int)

    /// The rows that cross whole after `exchanges` exchanges: of as many exchanges as a basis is kept, each row is part of one.
    func sampled(after exchanges: Int, refresh: Int) -> Range<Int> {
      let first = exchanges % refresh * factors.rows / refresh
      return first..<first + sampleCount
    }
  }

  /// The full specification.
  let specification: String
  /// D, the length of a row.
  let length: Int
  /// q, the most columns of a basis.
  let components: Int
  /// The exchanges after which bases are found anew.
  let refresh: Int
  /// The matrices, in the order of the flat buffer.
  let matrices: [Matrix]
  /// The values that cross as floats, rests of rows among them.
  let floats: FloatRanges
  /// The number of values of P of all matrices, and of rows that cross whole.
  let (leftCount, sampleCount): (Int, Int)

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    ("length", "values of a row: as many in turn are one sample of the covariance (64)"),
    ("components", "numbers that are sent of each row (4)"),
    ("refresh", "exchanges after which the components are found anew, and in which each row is sent whole once (64)"),
  ]

  /// The specification in full.
  static func full(_ specification: Specification) throws(SpecificationError) -> Specification {
    let length = try specification.integer("length", default: 64, in: 4...256)
    let components = try specification.integer("components", default: 4, in: 1...64)
    let refresh = try specification.integer("refresh", default: 64, in: 1...1_000_000)
    return try Specification("pca:length=\(length),components=\(components),refresh=\(refresh)")
  }

  /// The settings of a full specification for a model with these tensors.
  ///
  /// A tensor of which half of the values or more would be sent crosses as floats, as vectors do.
  init(_ full: Specification, layout: TensorLayout) throws(SpecificationError) {
    specification = full.description
    length = try full.integer("length", default: 64, in: 4...256)
    components = try full.integer("components", default: 4, in: 1...64)
    refresh = try full.integer("refresh", default: 64, in: 1...1_000_000)
    var (matrices, floats): ([Matrix], FloatRanges) = ([], FloatRanges())
    var (left, samples) = (0, 0)
    for (index, tensor) in layout.tensors.enumerated() {
      let rows = tensor.count / length
      let sampleCount = (rows + refresh - 1) / refresh
      guard tensor.kind == .coded, rows > 0, 2 * (rows * components + sampleCount * length) < tensor.count else {
        floats.append(tensor.range)
        continue
      }
      let end = tensor.range.lowerBound + rows * length
      matrices.append(
        Matrix(
          factors: LowRankSettings.Matrix(
            tensor: index, range: tensor.range.lowerBound..<end, rows: rows, columns: length, rank: components, left: left,
            right: matrices.count * components * length), sampleCount: sampleCount, samples: samples))
      floats.append(end..<tensor.range.upperBound)
      (left, samples) = (left + components * rows, samples + sampleCount * length)
    }
    (self.matrices, self.floats, leftCount, sampleCount) = (matrices, floats, left, samples)
  }

  /// The number of values in the message of a rank.
  var count: Int { leftCount + sampleCount + floats.count }

  /// The shards of the sums on `rankCount` ranks.
  func shards(_ rankCount: Int) -> [Range<Int>] { Partition(count: count, into: rankCount).ranges }

  /// The messages of an exchange: to owners and back.
  func rounds(rankCount: Int) -> [MessageRounds.Round] {
    let counts = shards(rankCount).map(\.count)
    return [.scattered("components", counts.map { _ in counts }), .gathered("their sums", counts, lengths: .full)]
  }

  /// What an exchange keeps in memory.
  func memory(_ sizes: AggregationSizes) -> [MemoryRow] {
    [
      ("residuals", sizes.count), ("components", count), ("bases", matrices.count * length * (components + length)),
      ("rows", matrices.isEmpty ? 0 : min(sizes.count, LowRankAggregation.blockCount)),
    ]
  }
}

/// The entry of sums by principal components.
let pcaEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "pca", "rows as their principal components, of the sums' own covariance, with error feedback (GradiVeQ, Yu et al. 2018)",
    keys: PCASettings.keys
  ) { specification in
    let full = try PCASettings.full(specification)
    var capabilities = AggregationCapabilities()
    capabilities.clips = true
    return AggregationRecipe(full, capabilities) { layout, rankCount in
      try PCASettings(full, layout: layout).rounds(rankCount: rankCount)
    } memory: {
      try PCASettings(full, layout: $0.layout).memory($0)
    } make: {
      try PCAAggregation(PCASettings(full, layout: $0.layout), parts: $0)
    }
  }
]
