internal import Buffers

/// Which tensors cross in low rank, and what the messages of an exchange hold: a pure function of a specification and a layout.
struct LowRankSettings: Sendable {
  /// A matrix X, n × m, that crosses as P Qᵀ with r columns in each.
  struct Matrix: Sendable {
    /// The index of its tensor in the layout.
    let tensor: Int
    /// Its values in the flat buffer, row by row.
    let range: Range<Int>
    /// n, m and r.
    let (rows, columns, rank): (Int, Int, Int)
    /// Where its P and its Q begin, column after column, in those of all matrices.
    let (left, right): (Int, Int)
  }

  /// The full specification.
  let specification: String
  /// The most columns of a factor.
  let rank: Int
  /// The exchanges after which a column of Q is drawn anew; 0 for never.
  let refresh: Int
  /// The matrices, in the order of the flat buffer.
  let matrices: [Matrix]
  /// The values that cross as floats.
  let floats: FloatRanges
  /// The number of values of P of all matrices, and of Q.
  let (leftCount, rightCount): (Int, Int)

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    ("rank", "columns of the factors of a matrix, at most its smaller side (2)"),
    ("refresh", "exchanges after which a column is drawn anew, so that no direction is left out for ever; 0 for never (100)"),
  ]

  /// The rank and the refresh of a specification.
  static func numbers(_ specification: Specification) throws(SpecificationError) -> (rank: Int, refresh: Int) {
    (
      try specification.integer("rank", default: 2, in: 1...64),
      try specification.integer("refresh", default: 100, in: 0...1_000_000_000)
    )
  }

  /// The settings for a model with these tensors.
  ///
  /// A matrix has one row for each output unit. One whose factors would not have fewer than half of its values crosses as floats, as
  /// vectors do.
  init(_ specification: Specification, layout: TensorLayout) throws(SpecificationError) {
    self.specification = specification.description
    (rank, refresh) = try Self.numbers(specification)
    var (matrices, floats): ([Matrix], FloatRanges) = ([], FloatRanges())
    var (left, right) = (0, 0)
    for (index, tensor) in layout.tensors.enumerated() where !tensor.range.isEmpty {
      let columns = tensor.rowLength
      let rows = tensor.count / columns
      let rank = min(rank, rows, columns)
      guard tensor.kind == .coded, 2 * rank * (rows + columns) < tensor.count else {
        floats.append(tensor.range)
        continue
      }
      matrices.append(
        Matrix(
          tensor: index, range: tensor.range, rows: rows, columns: columns, rank: rank, left: left, right: right))
      (left, right) = (left + rank * rows, right + rank * columns)
    }
    (self.matrices, self.floats, leftCount, rightCount) = (matrices, floats, left, right)
  }

  /// The shards of the sums of the first message, P and the floats, and of the second, Q, each on `rankCount` ranks.
  func shards(_ rankCount: Int) -> [[Range<Int>]] {
    [leftCount + floats.count, rightCount].map { Partition(count: $0, into: rankCount).ranges }
  }

  /// The messages of an exchange: P and floats to owners and back, then Q.
  func rounds(rankCount: Int) -> [MessageRounds.Round] {
    zip(shards(rankCount), [("left factors", "their sums"), ("right factors", "their sums, too")]).flatMap { shards, names in
      let counts = shards.map(\.count)
      return [
        MessageRounds.Round.scattered(names.0, shards.map { _ in counts }), .gathered(names.1, counts, lengths: .full),
      ]
    }
  }

  /// What an exchange keeps in memory.
  func memory(_ sizes: AggregationSizes) -> [MemoryRow] {
    [
      ("residuals", sizes.count), ("factors", leftCount + floats.count + 2 * rightCount),
      ("rows", min(sizes.count, LowRankAggregation.blockCount)),
    ]
  }
}

/// The entry of low-rank sums.
let lowRankEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "low-rank", "matrices as products of two factors of a few columns, with error feedback (PowerSGD, Vogels et al. 2019)",
    keys: LowRankSettings.keys
  ) { specification in
    let (rank, refresh) = try LowRankSettings.numbers(specification)
    var capabilities = AggregationCapabilities()
    capabilities.clips = true
    let full = try Specification("low-rank:rank=\(rank),refresh=\(refresh)")
    return AggregationRecipe(full, capabilities) { layout, rankCount in
      try LowRankSettings(full, layout: layout).rounds(rankCount: rankCount)
    } memory: {
      try LowRankSettings(full, layout: $0.layout).memory($0)
    } make: {
      try LowRankAggregation(LowRankSettings(full, layout: $0.layout), parts: $0)
    }
  }
]
