internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// One rank chooses which values all ranks send; the choice goes round.
///
///     v_i = g_i + β r_i      J = Top_k(v_l) of the leader l = t mod K      y = Σ v_i on J      r_i ← r_i + g_i − v_i on J
///
/// J is the same for all ranks, so that sums have k values on any number of ranks, owners lose nothing, and Σ r_i + Σ y is
/// Σ g_i: what is not sent, waits. With β below 1 a residual is sent in parts: it is the low-pass filter of the paper, for the
/// large residuals of large minibatches. The choice is good as long as the residuals of ranks are alike; what only others have
/// waits until they lead.
///
/// J has always k places: where fewer values are not zero, the first ones of the others. A rank whose gradient is not finite
/// sends zeros and leads with zeros, keeps its residual, and is counted.
///
/// - Source: Chen et al. 2020, "ScaleCom: scalable sparsified gradient compression", CLT-k; frontier F5.
/// - Cost: each rank sends 2 (K − 1)/K of 4k bytes, in three rounds; the leader its k indices, too, to K − 1 ranks: about
///   log₂(n/k) + 2 bits each.
final class LeaderTopK: StagedAggregation {
  /// The most values that are passed on together.
  private static let blockCount = 4096

  var specification: String { settings.specification }
  let result = AggregationResult.gradient
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  private let settings: LeaderTopKSettings
  private let rank: Int
  private let shards: [Range<Int>]
  /// r.
  private let residual: FloatBuffer
  /// v of the leader.
  private let sums: FloatBuffer
  /// Values that are passed on.
  private let block: FloatBuffer
  /// J, ascending, and the sums there.
  private var indices: [UInt32] = []
  private let chosen: FloatBuffer
  /// Whether the gradient takes part in the exchange.
  private var contributes = true
  /// The exchanges so far, in this run and those that it resumes.
  private var totalCount = 0
  private(set) var nonFiniteGroups = 0

  /// Prepares exchanges; collective.
  init(_ settings: LeaderTopKSettings, parts: AggregationParts) throws {
    let (world, count) = (parts.hosts.world, parts.layout.count)
    self.settings = settings
    (gradients, exchange, rank) = (parts.gradients, parts.stagedExchange, world.rank)
    shards = settings.shards(world.count)
    rounds = try MessageRounds(settings.rounds(rankCount: world.count), hosts: parts.hosts)
    (residual, sums) = (FloatBuffer(count: count), FloatBuffer(count: count))
    (block, chosen) = (FloatBuffer(count: min(count, Self.blockCount)), FloatBuffer(count: settings.k))
  }

  private var leader: Int { totalCount % shards.count }
  var residualSquares: Double { residual.sumOfSquares }
  var remembered: FloatBuffer? { residual }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      contributes = allFinite(gradient.baseAddress, count: gradient.count)
      if !contributes { nonFiniteGroups += 1 }
      try lead(gradient)
    }
    let following = rounds.message(from: leader, in: 0, .decode) { [self] message in
      try follow(message, gradient)
    }
    let summing = rounds.summing(1, of: shards, into: chosen)
    let delivering = exchange.delivery { [self] in deliver(to: $0) }
    return [beginning, following] + summing + [delivering, rounds.ending { [self] in totalCount += 1 }]
  }

  /// The leader chooses, and tells all.
  private func lead(_ gradient: FloatBuffer) throws {
    let isLeader = rank == leader
    if isLeader {
      let beta = settings.feedback
      for i in 0..<sums.count { sums[i] = contributes ? gradient[i] + beta * residual[i] : 0 }
      settings.write(settings.choose(sums), to: rounds.message(in: 0))
    }
    let words = rounds.peers.map { $0 == leader ? settings.indexWords : 0 }
    try rounds.send(0, outgoing: rounds.peers.map { _ in isLeader ? settings.indexWords : 0 }, incoming: words)
  }

  /// Sends the owners this rank's values at the places that the leader chose; the rest stays.
  private func follow(_ message: UnsafeBufferPointer<Float>, _ gradient: FloatBuffer) throws {
    indices = try settings.read(message)
    let beta = settings.feedback
    if !contributes {
      for (owner, shard) in shards.enumerated() {
        rounds.message(to: owner, in: 1).update(repeating: 0, count: shard.count)
      }
      return try rounds.send(1)
    }
    for (owner, shard) in shards.enumerated() {
      let room = rounds.message(to: owner, in: 1)
      for place in shard {
        let i = Int(indices[place])
        room[place - shard.lowerBound] = gradient[i] + beta * residual[i]
      }
    }
    add(gradient.baseAddress, count: gradient.count, to: residual.baseAddress)
    for (owner, shard) in shards.enumerated() {
      let sent = rounds.message(to: owner, in: 1)
      for place in shard { residual[Int(indices[place])] -= sent[place - shard.lowerBound] }
    }
    try rounds.send(1)
  }

  /// Passes y to the sink, with zeros between the values.
  private func deliver(to sink: Sink) {
    var place = 0
    for start in stride(from: 0, to: sums.count, by: Self.blockCount) {
      let range = start..<min(start + Self.blockCount, sums.count)
      block.values(in: 0..<range.count).update(repeating: 0)
      while place < indices.count, Int(indices[place]) < range.upperBound {
        block[Int(indices[place]) - start] = chosen[place]
        place += 1
      }
      sink.take(block.baseAddress, in: range)
    }
  }

  // MARK: State

  func forget() { residual.clear() }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("residual", .summed, of: residual))
    inventory.counters["leaderExchanges"] = String(totalCount)
  }

  func restore(counters: [String: String]) { totalCount = counters["leaderExchanges"].flatMap { Int($0) } ?? 0 }
}
