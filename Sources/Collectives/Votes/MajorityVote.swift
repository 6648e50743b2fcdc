internal import Buffers
internal import Codecs
internal import MPI
internal import Transport

/// The majority vote of the ranks on the sign of each value: steps of one size, for which no float crosses.
///
/// Every rank sends the signs of its contribution to the owners of shards; an owner counts the votes and sends back the sign of each sum,
/// or their mean (`VoteRule`). Nothing stays in a residual: what a rank was outvoted on is lost, and magnitudes never count, so that this
/// is another rule of descent and not a code of the sum. One rank follows its own signs.
///
/// - Source: Bernstein et al. 2019, "signSGD with majority vote is communication efficient and fault tolerant"; algorithms §3.2.
/// - Cost: each rank sends (K − 1)/K of a bit per value up, and as much down; 2 bits where zeros are possible, ⌈log₂(K + 1)⌉
///   bits down for means.
final class MajorityVote: StagedAggregation {
  /// The values that are decoded together.
  static let blockCount = 2048
  /// The most planes of a ballot and a result of a single rank.
  static let mostPlanes = 4

  let specification: String
  let result = AggregationResult.gradient
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  private let rule: VoteRule
  private let seed: UInt64
  private let rank: Int
  private let shards: [Range<Int>]
  /// Decoded values.
  private let block: FloatBuffer
  /// The ballot and the result of a single rank; empty if there are more.
  private let own: FloatBuffer

  /// Prepares votes; collective.
  init(_ settings: VoteSettings, parts: AggregationParts) throws {
    let (world, count) = (parts.hosts.world, parts.layout.count)
    (specification, rule, seed) = (settings.specification, settings.rule, parts.seed)
    (gradients, exchange, rank) = (parts.gradients, parts.stagedExchange, world.rank)
    shards = VoteSettings.shards(count, world.count)
    rounds = try MessageRounds(settings.rounds(count: count, rankCount: world.count), hosts: parts.hosts)
    block = FloatBuffer(count: min(count, MajorityVote.blockCount))
    own = FloatBuffer(count: world.count == 1 ? MajorityVote.mostPlanes * VoteRule.wordCount(of: count) : 0)
  }

  var predictsAtMost: Bool { false }
  var residualSquares: Double { 0 }
  /// The result is no sum, however exact.
  var estimationError: Double { .infinity }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let random = Philox(seed: seed, purpose: .voteTies, step: contribution.step)
    return shards.count == 1 ? voting(gradient, random) : exchanging(gradient, random)
  }

  /// The stages of a single rank, whose votes are the result.
  private func voting(_ gradient: FloatBuffer, _ random: Philox) -> [Stage] {
    [
      exchange.delivery { [self] sink in
        let (ballot, count) = (words(own.baseAddress), gradient.count)
        let result = ballot + rule.ballotPlanes * VoteRule.wordCount(of: count)
        rule.vote(gradient.baseAddress, count: count, into: ballot)
        rule.count([UnsafePointer(ballot)], count: count, random: random, first: 0, into: result)
        deliver(result, in: 0..<count, to: sink)
      }
    ]
  }

  private func exchanging(_ gradient: FloatBuffer, _ random: Philox) -> [Stage] {
    let voting = rounds.beginning(exchange) { [self] in
      for (owner, shard) in shards.enumerated() {
        rule.vote(
          gradient.baseAddress + shard.lowerBound, count: shard.count, into: words(rounds.message(to: owner, in: 0)))
      }
      try rounds.send(0)
    }
    var ballots: [UnsafePointer<UInt32>] = []
    let taking = rounds.messages(from: rounds.peers, in: 0, .sum) { [self] ballot, _ in
      ballots.append(UnsafePointer(words(UnsafeMutablePointer(mutating: ballot))))
    }
    let counting = Stage(.sum) { [self] in
      let shard = shards[rank]
      if !shard.isEmpty {
        rule.count(
          ballots, count: shard.count, random: random, first: shard.lowerBound, into: words(rounds.message(in: 1)))
      }
      try rounds.send(1)
    }
    let delivering = rounds.messages(from: rounds.peers, in: 1, .decode) { [self] result, owner in
      if let sink = exchange.sink { deliver(words(UnsafeMutablePointer(mutating: result)), in: shards[owner], to: sink) }
    }
    return [voting] + taking + [counting, exchange.delivery { _ in }] + delivering + [rounds.ending()]
  }

  /// The words in a message.
  private func words(_ message: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<UInt32> {
    UnsafeMutableRawPointer(message).assumingMemoryBound(to: UInt32.self)
  }

  /// Passes the result of a shard to the sink.
  private func deliver(_ result: UnsafePointer<UInt32>, in shard: Range<Int>, to sink: Sink) {
    for start in stride(from: 0, to: shard.count, by: MajorityVote.blockCount) {
      let range = start..<min(start + MajorityVote.blockCount, shard.count)
      rule.decode(result, count: shard.count, voterCount: shards.count, range, into: block.baseAddress)
      sink.take(block.baseAddress, in: shard.lowerBound + start..<shard.lowerBound + range.upperBound)
    }
  }

  // MARK: State

  func forget() {}

  func contribute(to inventory: inout StateInventory) {}
}
