internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Sketches give the positions, ranks the values: heavy values that owners find in the sum of all sketches are fetched exactly.
///
///     u_i ← ρu_i + g_i      v_i ← v_i + ηu_i     H = candidates of Σ S(v_i)      A = Σ v_i[H]      Δ = Top_k(A)      w ← w − Δ
///
/// and every rank sets v_i (and u_i, if momentum is masked) to zero where Δ is nonzero. No estimate ever enters the model:
/// Σ v_i + Δ is unchanged, bit for bit if the sum is taken in rank order.
///
/// Source: Ivkin et al. 2019, "Communication-efficient distributed SGD with sketching"; algorithms §2.4 and §2.5.
/// - Cost: besides ``FetchSGD``'s, the indices of P·k candidates to K − 1 ranks and their values to their owners.
final class TwoRoundSketch: SparseAggregation {
  /// How candidates are found.
  enum Selection: String, CaseIterable {
    case top
    case heavyMix = "heavy-mix"
  }

  let specification: String
  let shards: ShardMap
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  private let settings: SparseSettings
  private let candidateCounts: [Int]
  private let selection: Selection
  private let seed: UInt64
  let memory: RankMemory
  private let scatter: LinearReduceScatter
  private let candidateGather: SparseAllGather
  private let gather: SparseAllGather
  let rounds: MessageRounds
  private let rank: Int
  private let sums: [ShardMemory]
  /// This step's candidate positions of each shard, from its owner, and all ranks' memory summed there, for this rank's shards.
  private var candidates: [[UInt32]] = []
  private var candidateSums: [Float] = []

  init(
    _ settings: SparseSettings, _ code: SketchCode, candidates: Int, selection: Selection, parts: AggregationParts
  ) throws {
    (self.settings, self.selection, seed) = (settings, selection, parts.seed)
    (specification, shards) = (settings.specification, settings.shards)
    (gradients, exchange) = (parts.gradients, parts.stagedExchange)
    memory = RankMemory(
      count: shards.count, momentum: parts.momentum, masksMomentum: settings.masksMomentum)
    let world = parts.hosts.world
    rank = world.rank
    let messages = TwoRoundSketch.messages(settings, code, candidates: candidates, rank: rank, of: world.count)
    (scatter, candidateGather, gather) = (messages.scatter, messages.candidateGather, messages.gather)
    candidateCounts = messages.candidateCounts
    let owned = scatter.owned
    rounds = try MessageRounds(messages.rounds, hosts: parts.hosts)
    let lengths = (0..<shards.shardCount).map { ShardMemory.floatCount(code, shard: $0) }
    let room = FloatBuffer(count: owned[rank].reduce(0) { $0 + lengths[$1] })
    var start = 0
    sums = owned[rank].map { shard in
      defer { start += lengths[shard] }
      return ShardMemory(code, shard: shard, in: room, at: start)
    }
  }

  /// The messages of an exchange.
  struct Messages {
    let scatter: LinearReduceScatter
    let candidateCounts: [Int]
    let candidateGather: SparseAllGather
    let gather: SparseAllGather
    let rounds: [MessageRounds.Round]
  }

  /// The messages of rank `rank` of `rankCount`.
  static func messages(
    _ settings: SparseSettings, _ code: SketchCode, candidates: Int, rank: Int, of rankCount: Int
  ) -> Messages {
    let shards = settings.shards
    let scatter = LinearReduceScatter(code, rank: rank, of: rankCount)
    let counts = settings.k.enumerated().map { min(shards.count(of: $0), candidates * $1) }
    let candidateGather = SparseAllGather(shards, owned: scatter.owned, most: counts, hasValues: false, rank: rank)
    let gather = SparseAllGather(shards, owned: scatter.owned, most: settings.k, rank: rank)
    let valueCounts = scatter.owned.map { $0.reduce(0) { $0 + counts[$1] } }
    return Messages(
      scatter: scatter, candidateCounts: counts, candidateGather: candidateGather, gather: gather,
      rounds: [
        scatter.round("sketches"), candidateGather.round("candidates"),
        .scattered("values", scatter.owned.map { _ in valueCounts }, lengths: .known), gather.round("updates"),
      ])
  }

  /// The memory of a rank, and the sum of the sketches of the shards that it owns.
  static func memory(_ settings: SparseSettings, _ code: SketchCode, _ sizes: AggregationSizes) -> [MemoryRow] {
    let scatter = LinearReduceScatter(code, rank: sizes.rank, of: sizes.rankCount)
    let table = scatter.owned[sizes.rank].reduce(0) { $0 + ShardMemory.mostFloats(code, shard: $1) }
    return [RankMemory.memory(sizes), ("sketches of owners", table), scatter.memory]
  }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let own = scatter.owned[rank]
    let beginning = rounds.beginning(exchange) { [self] in
      memory.add(gradient, rate: contribution.rate)
      try scatter.send(memory.values, in: 0, of: rounds)
      for sum in sums { sum.clear() }
      candidates = []
    }
    let sketches = adding(scatter, in: 0) { [sums] shard, message in sums[shard - own.lowerBound].add(message) }
    let asking = rounds.sending(1, .sum) { [self] in
      candidateGather.write(own.map { candidates(of: $0, step: contribution.step) }, in: 1, of: rounds)
    }
    let asked = rounds.peers.map { peer in
      rounds.message(from: peer, in: 1, .decode) { [self] message in
        try candidateGather.decode(message, from: peer) { _, vector in candidates.append(vector.indices) }
      }
    }
    let answering = Stage(.encode) { [self] in try sendValues() }
    let answers = rounds.peers.map { peer in
      rounds.message(from: peer, in: 2, .sum) { [self] values in
        for index in candidateSums.indices { candidateSums[index] += values[index] }
      }
    }
    let choosing = rounds.sending(3, .sum) { [self] in gather.write(choices(), in: 3, of: rounds) }
    let delivery = delivering(gather, in: 3) { [memory, shards] shard, change in
      for index in change.indices { memory.clear(at: shards.place(of: Int(index), in: shard)) }
    }
    return [beginning] + sketches + asking + asked + [answering] + answers + choosing + delivery + [rounds.ending()]
  }

  /// Where this rank, the owner of the shard, expects the largest values.
  private func candidates(of shard: Int, step: Int) -> SparseVector {
    let (sum, count) = (sums[shard - scatter.owned[rank].lowerBound], candidateCounts[shard])
    let indices =
      if count == shards.count(of: shard) {
        Array(0..<UInt32(count))
      } else {
        switch selection {
        case .top: sum.largest(count).indices
        case .heavyMix: sum.heavyMix(count, seed: seed, step: step, shard: shard)
        }
      }
    return SparseVector(indices: indices, values: Array(repeating: 0, count: indices.count))
  }

  /// Sends owners this rank's memory at the candidates of their shards; they add in rank order.
  private func sendValues() throws {
    let counts = scatter.owned.map { $0.reduce(0) { $0 + candidates[$1].count } }
    for (owner, owned) in scatter.owned.enumerated() {
      var message = rounds.message(to: owner, in: 2)
      for shard in owned {
        for index in candidates[shard] {
          message.pointee = memory.values[shards.place(of: Int(index), in: shard)]
          message += 1
        }
      }
    }
    candidateSums = Array(repeating: 0, count: counts[rank])
    try rounds.send(2, outgoing: counts, incoming: counts.map { _ in counts[rank] })
  }

  /// The largest sums at the candidates of each of this rank's shards.
  private func choices() -> [SparseVector] {
    var next = 0
    return scatter.owned[rank].map { shard in
      let indices = candidates[shard]
      defer { next += indices.count }
      return candidateSums.withUnsafeBufferPointer { values in
        guard let start = values.baseAddress else { return SparseVector() }
        let chosen = largestMagnitudes(start + next, count: indices.count, k: settings.k[shard])
        return SparseVector(indices: chosen.indices.map { indices[Int($0)] }, values: chosen.values)
      }
    }
  }

  var remembered: FloatBuffer? { memory.values }
  var residualSquares: Double { memory.values.sumOfSquares }
  func contribute(to inventory: inout StateInventory) { memory.contribute(to: &inventory) }
  func forget() { memory.clear() }
}
