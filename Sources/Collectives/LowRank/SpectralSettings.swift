internal import Buffers

/// Which singular values are sent of a matrix.
enum SpectralForm: String, Sendable {
  /// The largest ones; what they do not carry comes later.
  case largest = "svd"
  /// Some by chance, the larger the likelier, so that what arrives is right on average.
  case drawn = "spectral"
}

/// The blocks of matrices that cross as a few singular values and vectors, and what the messages of an exchange hold.
struct SpectralSettings: Sendable {
  /// The full specification.
  let specification: String
  let form: SpectralForm
  /// The blocks, in the order of the flat buffer; their P and Q begin at `left` and `right` of those of the block.
  let blocks: [LowRankSettings.Matrix]
  /// The values that cross as floats.
  let floats: FloatRanges

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    ("rank", "singular values that are sent of a matrix, at most its smaller side (2)"),
    ("side", "a matrix whose sides are both longer is cut into blocks of as many rows at most, which bounds the work (128)"),
  ]

  /// The specification in full.
  static func full(_ form: SpectralForm, _ specification: Specification) throws(SpecificationError) -> Specification {
    let rank = try specification.integer("rank", default: 2, in: 1...64)
    let side = try specification.integer("side", default: 128, in: 2...4096)
    return try Specification("\(form.rawValue):rank=\(rank),side=\(side)")
  }

  /// The settings of a full specification for a model with these tensors.
  ///
  /// A matrix has one row for each output unit. A block whose factors would not have fewer than half of its values crosses as floats, as
  /// vectors do.
  init(_ form: SpectralForm, _ specification: Specification, layout: TensorLayout) throws(SpecificationError) {
    (self.specification, self.form) = (specification.description, form)
    let rank = try specification.integer("rank", default: 2, in: 1...64)
    let side = try specification.integer("side", default: 128, in: 2...4096)
    var (blocks, floats): ([LowRankSettings.Matrix], FloatRanges) = ([], FloatRanges())
    for (index, tensor) in layout.tensors.enumerated() where !tensor.range.isEmpty {
      let columns = tensor.rowLength
      let rows = tensor.count / columns
      let pieces = min(rows, columns) > side ? (rows + side - 1) / side : 1
      for piece in Partition(count: rows, into: pieces).ranges {
        let start = tensor.range.lowerBound
        let range = start + piece.lowerBound * columns..<start + piece.upperBound * columns
        let rank = min(rank, piece.count, columns)
        guard tensor.kind == .coded, 2 * rank * (piece.count + columns) < range.count else {
          floats.append(range)
          continue
        }
        blocks.append(
          LowRankSettings.Matrix(
            tensor: index, range: range, rows: piece.count, columns: columns, rank: rank, left: 0, right: rank * piece.count))
      }
    }
    (self.blocks, self.floats) = (blocks, floats)
  }

  /// The number of values of P and Q of a block.
  static func factorCount(_ block: LowRankSettings.Matrix) -> Int { block.rank * (block.rows + block.columns) }

  /// What each of `rankCount` owners sums: blocks, by index, balanced by their factors, and values of those that cross as floats.
  func shares(_ rankCount: Int) -> [(blocks: Range<Int>, floats: Range<Int>)] {
    let weights = blocks.reduce(into: [0]) { $0.append($0.last! + Self.factorCount($1)) }
    return zip(
      Partition(cumulativeWeights: weights, into: rankCount).ranges, Partition(count: floats.count, into: rankCount).ranges
    ).map { ($0, $1) }
  }

  /// The messages of an exchange: factors and floats to owners, and those of the sums to all.
  func rounds(rankCount: Int) -> [MessageRounds.Round] {
    let counts = shares(rankCount).map { share in
      share.blocks.reduce(share.floats.count) { $0 + Self.factorCount(blocks[$1]) }
    }
    return [
      .scattered("singular vectors", counts.map { _ in counts }), .gathered("those of the sums", counts, lengths: .full),
    ]
  }

  /// What an exchange keeps in memory.
  func memory(_ sizes: AggregationSizes) -> [MemoryRow] {
    let owned = shares(sizes.rankCount)[sizes.rank].blocks.reduce(0) { $0 + blocks[$1].range.count }
    return [
      ("residuals", form == .largest ? sizes.count : 0), ("sums of owners", owned), ("floats", floats.count),
      ("rows", min(sizes.count, SpectralAggregation.blockCount)),
    ]
  }
}

/// The entry of a form.
private func entry(_ form: SpectralForm, _ summary: String) -> Registry<AggregationRecipe>.Entry {
  .init(form.rawValue, summary, keys: SpectralSettings.keys) { specification in
    let full = try SpectralSettings.full(form, specification)
    var capabilities = AggregationCapabilities()
    capabilities.clips = true
    return AggregationRecipe(full, capabilities) { layout, rankCount in
      try SpectralSettings(form, full, layout: layout).rounds(rankCount: rankCount)
    } memory: {
      try SpectralSettings(form, full, layout: $0.layout).memory($0)
    } make: {
      try SpectralAggregation(SpectralSettings(form, full, layout: $0.layout), parts: $0)
    }
  }
}

/// The entries of sums by singular values.
let spectralEntries = [
  entry(.largest, "the largest singular values of each matrix and their vectors, of ranks and of sums, with error feedback"),
  entry(
    .drawn, "singular values of each matrix by chance, larger ones likelier, right on average (ATOMO, Wang et al. 2018)"),
]
