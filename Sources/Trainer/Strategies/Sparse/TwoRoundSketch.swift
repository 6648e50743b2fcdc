internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI

/// Sketches say where, ranks say how much: the heavy values that owners see in the sum of all sketches are fetched exactly.
///
///     u_i ← ρu_i + g_i      v_i ← v_i + ηu_i      H = candidates of Σ S(v_i)      A = Σ v_i[H]      Δ = Top_k(A)      w ← w − Δ
///
/// and every rank sets v_i (and u_i, where momentum is masked) to zero where Δ is. Nothing is ever estimated into the model: Σ v_i + Δ
/// stays what it was, bit for bit where the sum is taken in rank order.
///
/// Source: Ivkin et al. 2019, "Communication-efficient distributed SGD with sketching"; algorithms §2.4 and §2.5.
/// - Cost: beside ``FetchSGD``'s, the indices of P·k candidates to K − 1 ranks and their values to their owners.
final class TwoRoundSketch: RankAggregation {
  /// How candidates are found.
  enum Selection: String, CaseIterable {
    case top
    case heavyMix = "heavy-mix"
  }

  let specification: String
  let shards: ShardMap
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

  init(
    _ settings: SparseSettings, _ code: SketchCode, candidates: Int, selection: Selection, parts: SparseParts
  ) throws {
    (self.settings, self.selection, seed) = (settings, selection, parts.options.seed)
    (specification, shards) = (settings.specification, settings.shards)
    memory = RankMemory(
      count: shards.count, momentum: parts.options.momentum, masksMomentum: settings.masksMomentum)
    let world = parts.hosts.world
    rank = world.rank
    scatter = LinearReduceScatter(code, rank: rank, of: world.count)
    let (owned, map) = (scatter.owned, settings.shards)
    let counts = settings.k.enumerated().map { min(map.count(of: $0), candidates * $1) }
    candidateCounts = counts
    candidateGather = SparseAllGather(shards, owned: owned, most: counts, hasValues: false, rank: rank)
    gather = SparseAllGather(shards, owned: owned, most: settings.k, rank: rank)
    let valueCounts = owned.map { $0.reduce(0) { $0 + counts[$1] } }
    rounds = try MessageRounds(
      [
        scatter.round("sketches"), candidateGather.round("candidates"),
        .scattered("values", owned.map { _ in valueCounts }, lengths: .known), gather.round("updates"),
      ], hosts: parts.hosts)
    let lengths = (0..<shards.shardCount).map { ShardMemory.floatCount(code, shard: $0) }
    let room = FloatBuffer(count: owned[rank].reduce(0) { $0 + lengths[$1] })
    var start = 0
    sums = owned[rank].map { shard in
      defer { start += lengths[shard] }
      return ShardMemory(code, shard: shard, in: room, at: start)
    }
  }

  func aggregate(
    _ gradient: FloatBuffer, step: Int, rate: Float, update: (_ shard: Int, _ change: SparseVector) -> Void
  ) throws {
    memory.add(gradient, rate: rate)
    try rounds.begin()
    let candidates = try candidates(step)
    let values = try sumsOfValues(at: candidates)
    var next = 0
    let changes = scatter.owned[rank].map { shard in
      let indices = candidates[shard]
      defer { next += indices.count }
      return values.withUnsafeBufferPointer { values in
        guard let start = values.baseAddress else { return SparseVector() }
        let chosen = largestMagnitudes(start + next, count: indices.count, k: settings.k[shard])
        return SparseVector(indices: chosen.indices.map { indices[Int($0)] }, values: chosen.values)
      }
    }
    try gather.send(changes, in: 3, of: rounds)
    try gather.receive(in: 3, of: rounds) { shard, change in
      for index in change.indices { memory.clear(at: shards.place(of: Int(index), in: shard)) }
      update(shard, change)
    }
    try rounds.end()
  }

  /// For every shard, where its owner expects the largest values.
  private func candidates(_ step: Int) throws -> [[UInt32]] {
    let own = scatter.owned[rank]
    try scatter.send(memory.values, in: 0, of: rounds)
    for sum in sums { sum.clear() }
    try scatter.receive(in: 0, of: rounds) { shard, message in sums[shard - own.lowerBound].add(message) }
    let found = own.map { shard in
      let (sum, count) = (sums[shard - own.lowerBound], candidateCounts[shard])
      if count == shards.count(of: shard) {
        return SparseVector(indices: Array(0..<UInt32(count)), values: Array(repeating: 0, count: count))
      }
      let indices =
        switch selection {
        case .top: sum.largest(count).indices
        case .heavyMix: sum.heavyMix(count, seed: seed, step: step, shard: shard)
        }
      return SparseVector(indices: indices, values: Array(repeating: 0, count: indices.count))
    }
    try candidateGather.send(found, in: 1, of: rounds)
    var candidates: [[UInt32]] = []
    try candidateGather.receive(in: 1, of: rounds) { _, vector in candidates.append(vector.indices) }
    return candidates
  }

  /// What all ranks together remember at the candidates of the own shards, added in rank order.
  private func sumsOfValues(at candidates: [[UInt32]]) throws -> [Float] {
    let counts = scatter.owned.map { $0.reduce(0) { $0 + candidates[$1].count } }
    for (owner, owned) in scatter.owned.enumerated() {
      var message = rounds.message(to: owner, in: 2)
      for shard in owned {
        for index in candidates[shard] {
          unsafe message.pointee = memory.values[shards.place(of: Int(index), in: shard)]
          unsafe message += 1
        }
      }
    }
    try rounds.send(2, outgoing: counts, incoming: counts.map { _ in counts[rank] })
    var sums = [Float](repeating: 0, count: counts[rank])
    for peer in counts.indices {
      let values = try rounds.message(from: peer, in: 2)
      for index in sums.indices { unsafe sums[index] += values[index] }
    }
    return sums
  }
}
