internal import Buffers
internal import Codecs

/// How many values a leader chooses, and what the messages of an exchange hold.
struct LeaderTopKSettings: Sendable {
  /// The specification in full.
  let specification: String
  /// The number of values of a contribution.
  let count: Int
  /// The number of values that are sent.
  let k: Int
  /// β: the share of a residual that takes part in an exchange.
  let feedback: Float

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    ("k", "values that all ranks send: a number or a share of the parameters (1/100)"),
    ("feedback", "the share of a residual that takes part in an exchange, above 0; the rest waits (1)"),
  ]

  /// What a specification says without the number of values.
  static func values(_ specification: Specification) throws(SpecificationError) -> (k: Amount, feedback: Double) {
    let feedback = try specification.number("feedback", default: 1, in: 1e-3...1)
    return (try specification.amount("k", default: "1/100"), feedback)
  }

  init(_ specification: Specification, count: Int) throws(SpecificationError) {
    let (amount, feedback) = try Self.values(specification)
    let k = count == 0 ? 0 : amount.count(of: count)
    guard k <= count else {
      throw SpecificationError("'\(specification)': k = \(k) is more than the \(count) parameters")
    }
    (self.specification, self.count, self.k, self.feedback) = (specification.description, count, k, Float(feedback))
  }

  /// Words of a message of indices: the number of bytes of their code, and the code.
  var indexWords: Int { 1 + (IndexChoice.eliasFano.mostBits(count: k, below: count) + 31) / 32 }

  /// The values of each owner among those that are sent.
  func shards(_ rankCount: Int) -> [Range<Int>] { Partition(count: k, into: rankCount).ranges }

  /// The messages of an exchange.
  func rounds(rankCount: Int) -> [MessageRounds.Round] {
    let counts = shards(rankCount).map(\.count)
    return [
      .gathered("the leader's indices", counts.map { _ in indexWords }, lengths: .known),
      .scattered("values", counts.map { _ in counts }), .gathered("their sums", counts, lengths: .full),
    ]
  }

  /// What an exchange keeps in memory.
  func memory() -> [MemoryRow] { [("residuals", count), ("leader's values", count + k)] }

  /// The places of the k largest values, ascending; the first others where fewer are not zero.
  func choose(_ values: FloatBuffer) -> [UInt32] {
    var largest = LargestMagnitudes(k: k)
    largest.add(values.baseAddress, count: count, at: 0)
    let indices = largest.chosen().indices
    guard indices.count < k else { return indices }
    var (all, isChosen) = (indices, Set(indices))
    for index in 0..<UInt32(count) where all.count < k && isChosen.insert(index).inserted { all.append(index) }
    return all.sorted()
  }

  /// Writes indices to a message.
  func write(_ indices: [UInt32], to message: UnsafeMutablePointer<Float>) {
    let bytes = UnsafeMutableRawPointer(message)
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 4 * indexWords)
    let length = IndexChoice.eliasFano.encode(indices, below: count, into: bytes + 4)
    bytes.storeBytes(of: UInt32(length).littleEndian, as: UInt32.self)
  }

  /// Reads the indices of a message.
  ///
  /// - Throws: `SparseCodeError` if it holds none.
  func read(_ message: UnsafeBufferPointer<Float>) throws -> [UInt32] {
    let bytes = UnsafeRawBufferPointer(message)
    let length = Int(UInt32(littleEndian: bytes.load(as: UInt32.self)))
    let code = UnsafeRawBufferPointer(rebasing: bytes[4..<4 + min(length, bytes.count - 4)])
    return try IndexChoice.eliasFano.decode(code, count: k, below: count)
  }
}

/// The entry of the choice of a leader.
let leaderTopKEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "leader-top-k",
    "the largest values of one rank after another, of all ranks, with error feedback (ScaleCom, Chen et al. 2020)",
    keys: LeaderTopKSettings.keys
  ) { specification in
    let (k, feedback) = try LeaderTopKSettings.values(specification)
    var capabilities = AggregationCapabilities()
    capabilities.clips = true
    let full = try Specification("leader-top-k:k=\(k),feedback=\(Float(feedback).asKey)")
    return AggregationRecipe(full, capabilities) { layout, rankCount in
      try LeaderTopKSettings(full, count: layout.count).rounds(rankCount: rankCount)
    } memory: {
      try LeaderTopKSettings(full, count: $0.layout.count).memory()
    } make: {
      try LeaderTopK(LeaderTopKSettings(full, count: $0.layout.count), parts: $0)
    }
  }
]
