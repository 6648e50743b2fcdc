public import Buffers
public import Codecs
internal import Transport

/// A reduce-scatter of linear codes: every rank encodes every shard, and each shard's owner adds the messages in rank order.
///
/// Shards are assigned to owners in order, balanced by message length. Nothing is decoded on the way, and no sum depends on the
/// transport or on timing.
///
/// - Source: algorithms §2.6, steps 1 and 2.
/// - Cost: each rank sends the messages of the shards that it does not own, (K − 1)/K of all.
public struct LinearReduceScatter {
  /// The code.
  public let code: any LinearCode
  /// The shards of each rank.
  public let owned: [Range<Int>]
  private let rank: Int
  private let scratch: FloatBuffer

  /// Prepares sums for rank `rank` of `rankCount`.
  public init(_ code: any LinearCode, rank: Int, of rankCount: Int) {
    self.code = code
    self.rank = rank
    let counts = (0..<code.shards.shardCount).map(code.messageCount)
    let weights = counts.reduce(into: [0]) { $0.append($0.last! + $1) }
    owned = Partition(cumulativeWeights: weights, into: rankCount).ranges
    scratch = FloatBuffer(count: (0..<code.shards.shardCount).map(code.shards.count).max() ?? 0)
  }

  /// The message round that this needs.
  public func round(_ name: String) -> MessageRounds.Round {
    let counts = owned.map { $0.reduce(0) { $0 + code.messageCount(of: $1) } }
    return .scattered(name, owned.map { _ in counts })
  }

  /// The room for one shard while it is encoded.
  var memory: MemoryRow { ("a shard", scratch.count) }

  /// Encodes `values` and sends every shard to its owner.
  public func send(_ values: FloatBuffer, in round: Int, of rounds: MessageRounds) throws {
    require(values.count == code.shards.count, "\(values.count) values where the shards have \(code.shards.count)")
    for (owner, shards) in owned.enumerated() {
      var message = rounds.message(to: owner, in: round)
      for shard in shards {
        code.shards.gather(shard, from: values.baseAddress, into: scratch.baseAddress)
        code.encode(scratch.baseAddress, of: shard, into: message)
        message += code.messageCount(of: shard)
      }
    }
    try rounds.send(round)
  }

  /// Calls `add` with the message of every owned shard from every rank: rank by rank, shard by shard within each.
  public func receive(
    in round: Int, of rounds: MessageRounds, add: (_ shard: Int, _ message: UnsafePointer<Float>) -> Void
  ) throws {
    for peer in owned.indices { take(try rounds.message(from: peer, in: round), add: add) }
  }

  /// Calls `add` with the message of every owned shard in the data from one rank.
  func take(_ message: UnsafeBufferPointer<Float>, add: (_ shard: Int, _ message: UnsafePointer<Float>) -> Void) {
    guard var next = message.baseAddress else { return }
    for shard in owned[rank] {
      add(shard, next)
      next += code.messageCount(of: shard)
    }
  }
}
