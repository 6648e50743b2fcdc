internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Every rank sends the k largest values of its memory; owners sum them.
///
///     u_i ← ρu_i + g_i      v_i ← v_i + ηu_i      Δ_i = Top_k(v_i)      w ← w − Σ Δ_i
///
/// and v_i (and u_i, if momentum is masked) becomes zero where Δ_i is nonzero. Ranks choose differently, so up to K times as
/// many values come back as each rank sent. A gradient may be clipped before, each rank's own to θ/√K: K vectors of noise of that
/// norm add up to θ. k may fall to what it is over the first exchanges (``Ramp``).
///
/// Source: Lin et al. 2018, "Deep gradient compression"; algorithms §4.3 and §4.5.
/// - Cost: each rank sends its k values to their owners, and its share of the union, up to k values, to K − 1 ranks. There is
///   room for the messages of the first exchange, and no passes are added, except one over a gradient that is clipped.
final class LocalTopK: SparseAggregation {
  /// Where values that were not sent are kept.
  enum Feedback: String, CaseIterable {
    case rank
    case none
  }

  let specification: String
  let shards: ShardMap
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  private let feedback: Feedback
  private let ramp: Ramp
  /// The limit of a rank's own gradient.
  private let clip: NormClip?
  let memory: RankMemory
  private let scatter: SparseLists
  private let gather: SparseAllGather
  let rounds: MessageRounds
  private let rank: Int
  private let owned: [Range<Int>]
  /// The sums, for this rank's shards, of what the ranks sent in this step.
  private var sums: [SparseVector] = []
  /// The exchanges so far, in this run and those that it resumes.
  private var totalCount = 0
  /// What an exchange of each phase of the ramp sends, at most.
  private let traffics: [Traffic]
  /// What all exchanges of this run have sent, at most.
  private var predictedTotal = Traffic()

  init(_ local: LocalTopKSettings, parts: AggregationParts) throws {
    let settings = local.sparse
    (feedback, ramp) = (local.feedback, local.ramp)
    (specification, shards) = (settings.specification, settings.shards)
    (gradients, exchange) = (parts.gradients, parts.stagedExchange)
    memory = RankMemory(
      count: shards.count, momentum: parts.momentum, masksMomentum: settings.masksMomentum)
    let world = parts.hosts.world
    rank = world.rank
    clip = local.clip.map { NormClip(limit: $0 / Double(world.count).squareRoot()) }
    let messages = ramp.counts.map { LocalTopK.messages(settings, of: $0, rank: world.rank, of: world.count) }
    (scatter, gather, owned) = (messages[0].scatter, messages[0].gather, messages[0].owned)
    let rounds = try MessageRounds(messages[0].rounds, hosts: parts.hosts)
    self.rounds = rounds
    traffics = messages.map { rounds.predictedTraffic(of: $0.rounds) }
  }

  /// The messages of rank `rank` of `rankCount` with `k` values of each rank, and the shards of each owner.
  static func messages(
    _ settings: SparseSettings, of k: Int, rank: Int, of rankCount: Int
  ) -> (scatter: SparseLists, gather: SparseAllGather, owned: [Range<Int>], rounds: [MessageRounds.Round]) {
    let shards = settings.shards
    func most(_ count: Int) -> [Int] { (0..<shards.shardCount).map { min(count, shards.count(of: $0)) } }
    let owned = LinearReduceScatter(DenseCode(shards), rank: rank, of: rankCount).owned
    let scatter = SparseLists(shards, most: most(k), total: k)
    let gather = SparseAllGather(shards, owned: owned, most: most(k * rankCount), total: k * rankCount, rank: rank)
    let capacities = owned.map(scatter.capacity)
    let values = MessageRounds.Round.scattered("the largest values", owned.map { _ in capacities }, lengths: .announced)
    return (scatter, gather, owned, [values, gather.round("updates")])
  }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      memory.add(gradient, times: factor(of: gradient, contribution), rate: contribution.rate)
      sums = owned[rank].map { _ in SparseVector() }
    }
    let telling = rounds.sending(0, .encode) { [self] in
      let own = largest()
      return owned.enumerated().map { scatter.encode(Array(own[$1]), of: $1, into: rounds.message(to: $0, in: 0)) }
    }
    let adding = rounds.peers.map { peer in
      rounds.message(from: peer, in: 0, .sum) { [self] message in
        let first = owned[rank].lowerBound
        try scatter.decode(message, of: owned[rank], from: peer) { shard, vector in sums[shard - first].add(vector) }
      }
    }
    let returning = rounds.sending(1, .sum) { [self] in gather.write(sums, in: 1, of: rounds) }
    let ending = rounds.ending { [self] in
      predictedTotal += predictedTraffic
      totalCount += 1
    }
    return [beginning] + telling + adding + returning + delivering(gather, in: 1) + [ending]
  }

  /// The factor that clips this rank's gradient.
  private func factor(of gradient: FloatBuffer, _ contribution: Contribution) -> Float {
    guard let clip else { return 1 }
    return clip.factor(norm: gradient.sumOfSquares.squareRoot(), share: contribution.share).map { Float($0) } ?? 1
  }

  /// The phase of the next exchange.
  private var phase: Int { ramp.phase(of: totalCount) }

  /// The k largest values of this rank's memory, by shard; they are removed from it.
  private func largest() -> [SparseVector] {
    let chosen = largestMagnitudes(memory.values.baseAddress, count: memory.values.count, k: ramp.counts[phase])
    var vectors = Array(repeating: SparseVector(), count: shards.shardCount)
    for (index, value) in zip(chosen.indices, chosen.values) {
      let (block, offset) = Int(index).quotientAndRemainder(dividingBy: ShardMap.blockLength)
      let (place, shard) = block.quotientAndRemainder(dividingBy: shards.shardCount)
      vectors[shard].indices.append(UInt32(place * ShardMap.blockLength + offset))
      vectors[shard].values.append(value)
      memory.clear(at: Int(index))
    }
    if feedback == .none { memory.clearValues() }
    return vectors
  }

  /// If unsent values are lost, or a gradient is clipped, that may be as large as the sum.
  var estimationError: Double { feedback == .rank && clip == nil ? 0 : 1 }
  var remembered: FloatBuffer? { feedback == .rank ? memory.values : nil }
  var residualSquares: Double { memory.values.sumOfSquares }
  func forget() { memory.clear() }

  var predictedTraffic: Traffic { traffics[phase] }
  var rampTraffic: RampTraffic? {
    traffics.count > 1 ? RampTraffic(total: predictedTotal, settled: traffics[traffics.count - 1]) : nil
  }

  func contribute(to inventory: inout StateInventory) {
    memory.contribute(to: &inventory)
    if ramp.length > 0 { inventory.counters["rampExchanges"] = String(totalCount) }
  }

  func restore(counters: [String: String]) { totalCount = counters["rampExchanges"].flatMap { Int($0) } ?? 0 }
}

extension SparseVector {
  /// Adds another vector; values at an index that only one has are copied.
  fileprivate mutating func add(_ other: SparseVector) {
    var sum = SparseVector()
    var (mine, theirs) = (0, 0)
    while mine < count || theirs < other.count {
      let own = mine < count ? indices[mine] : .max
      let index = min(own, theirs < other.count ? other.indices[theirs] : .max)
      var value: Float = 0
      if mine < count && indices[mine] == index {
        value += values[mine]
        mine += 1
      }
      if theirs < other.count && other.indices[theirs] == index {
        value += other.values[theirs]
        theirs += 1
      }
      sum.indices.append(index)
      sum.values.append(value)
    }
    self = sum
  }
}
