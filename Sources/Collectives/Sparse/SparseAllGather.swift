public import Codecs
internal import Transport

/// All-gathers the sparse vectors of all shards, each from its owner.
///
/// - Cost: each rank sends its vectors to K − 1 ranks: about 42 bits per value if one value in a hundred is sent, less than 8
///   bytes per value at any density.
public struct SparseAllGather {
  private let lists: SparseLists
  private let owned: [Range<Int>]
  private let rank: Int

  /// Prepares all-gathers of vectors of at most `most[shard]` values, or of their indices alone; of at most `total` values of an owner.
  public init(
    _ shards: ShardMap, owned: [Range<Int>], most: [Int], total: Int? = nil, hasValues: Bool = true, rank: Int
  ) {
    lists = SparseLists(shards, most: most, total: total, hasValues: hasValues)
    (self.owned, self.rank) = (owned, rank)
  }

  /// The message round that this needs.
  public func round(_ name: String) -> MessageRounds.Round { .gathered(name, owned.map(lists.capacity)) }

  /// Sends the vectors of this rank's shards.
  public func send(_ vectors: [SparseVector], in round: Int, of rounds: MessageRounds) throws {
    try rounds.send(round, counts: write(vectors, in: round, of: rounds))
  }

  /// Writes the vectors of this rank's shards; returns the message length, one for all ranks.
  func write(_ vectors: [SparseVector], in round: Int, of rounds: MessageRounds) -> [Int] {
    [lists.encode(vectors, of: owned[rank], into: rounds.message(in: round))]
  }

  /// Calls `body` with the vector of every shard, in order; values are zeros if only indices were requested.
  public func receive(in round: Int, of rounds: MessageRounds, _ body: (_ shard: Int, _ vector: SparseVector) -> Void) throws {
    for peer in owned.indices { try decode(rounds.message(from: peer, in: round), from: peer, body) }
  }

  /// Calls `body` with the vector of every shard that came from `peer`.
  func decode(
    _ message: UnsafeBufferPointer<Float>, from peer: Int, _ body: (_ shard: Int, _ vector: SparseVector) -> Void
  ) throws { try lists.decode(message, of: owned[peer], from: peer, body) }
}
