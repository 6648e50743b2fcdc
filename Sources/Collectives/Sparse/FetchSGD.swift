internal import Buffers
internal import Codecs
internal import MPI
internal import Transport

/// Momentum and error inside the sketch: owners sum the sketches of all ranks, and recover the heavy values from their memory.
///
///     S_u ← ρS_u + Σ S(g_i)      S_e ← S_e + ηS_u      Δ = Top_k(U(S_e))      w ← w − Δ
///
/// and then Δ leaves the error: S_e ← S_e − S(Δ), or every cell that Δ touches becomes zero. With `window` tables, each
/// cleared in its turn, an error lasts that number of exchanges: a skipped step adds nothing to any table, and takes no turn.
///
/// Ranks keep no memory: a client may come once and never again.
///
/// Source: Rothchild et al. 2020, "FetchSGD", algorithm 1; algorithms §2.3, §2.6 and §2.7.
/// - Cost: each rank sends (K − 1)/K of the table of 4rc bytes, and its share of the k values to K − 1 ranks.
final class FetchSGD: SparseAggregation {
  /// What happens to the cells of recovered values.
  enum Recovery: String, CaseIterable {
    case subtract
    case zero
  }

  let specification: String
  let shards: ShardMap
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  private let settings: SparseSettings
  private let code: SketchCode
  private let recovery: Recovery
  private let momentum: Double
  private let window: Int
  private let scatter: LinearReduceScatter
  private let gather: SparseAllGather
  let rounds: MessageRounds
  /// How owners add their parts of the norm; nil if nothing is clipped.
  private let norms: RecordExchange?
  private let owned: Range<Int>
  /// Σ S(g_i) of this step, if it is clipped before it is used.
  private let sums: [ShardMemory]
  private let clip: NormClip?
  /// S_u of the owned shards, and the tables of S_e, all in one memory for checkpoints.
  private let momenta: [ShardMemory]
  private let errors: [[ShardMemory]]
  /// Counts exchanges: determines which table's turn it is.
  private var turn = 0
  private let memories: [FloatBuffer]

  init(
    _ settings: SparseSettings, _ code: SketchCode, recovery: Recovery, window: Int, parts: AggregationParts
  ) throws {
    (self.settings, self.code, self.recovery, self.window) = (settings, code, recovery, window)
    (specification, shards, momentum) = (settings.specification, settings.shards, parts.momentum)
    (gradients, exchange) = (parts.gradients, parts.stagedExchange)
    let world = parts.hosts.world
    let messages = FetchSGD.messages(settings, code, rank: world.rank, of: world.count)
    (scatter, gather) = (messages.scatter, messages.gather)
    let owned = scatter.owned[world.rank]
    self.owned = owned
    rounds = try MessageRounds(messages.rounds, hosts: parts.hosts)
    let lengths = owned.map { ShardMemory.floatCount(code, shard: $0) }
    memories = (0...max(window, 1)).map { _ in FloatBuffer(count: lengths.reduce(0, +)) }
    clip = parts.clip.map(NormClip.init)
    norms = try clip.map { _ in try RecordExchange(parts.normRanks ?? parts.hosts) }
    func tables(_ memory: FloatBuffer) -> [ShardMemory] {
      var start = 0
      return owned.map { shard in
        defer { start += ShardMemory.floatCount(code, shard: shard) }
        return ShardMemory(code, shard: shard, in: memory, at: start)
      }
    }
    sums = clip == nil ? [] : tables(FloatBuffer(count: memories[0].count))
    momenta = tables(memories[0])
    errors = memories.dropFirst().map(tables)
  }

  /// The messages of rank `rank` of `rankCount`.
  static func messages(
    _ settings: SparseSettings, _ code: SketchCode, rank: Int, of rankCount: Int
  ) -> (scatter: LinearReduceScatter, gather: SparseAllGather, rounds: [MessageRounds.Round]) {
    let scatter = LinearReduceScatter(code, rank: rank, of: rankCount)
    let gather = SparseAllGather(settings.shards, owned: scatter.owned, most: settings.k, rank: rank)
    return (scatter, gather, [scatter.round("sketches"), gather.round("updates")])
  }

  /// The memory of the owned shards, and scratch memory of their summands.
  static func memory(_ settings: SparseSettings, _ code: SketchCode, window: Int, _ sizes: AggregationSizes) -> [MemoryRow] {
    let scatter = messages(settings, code, rank: sizes.rank, of: sizes.rankCount).scatter
    let table = scatter.owned[sizes.rank].reduce(0) { $0 + ShardMemory.mostFloats(code, shard: $1) }
    return [("sketches of owners", (max(window, 1) + 1 + (sizes.isClipped ? 1 : 0)) * table), scatter.memory]
  }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      try scatter.send(gradient, in: 0, of: rounds)
      for table in momenta { table.multiply(by: momentum) }
      for sum in sums { sum.clear() }
    }
    let targets = clip == nil ? momenta : sums
    let sum = adding(scatter, in: 0) { [owned] shard, message in targets[shard - owned.lowerBound].add(message) }
    let recovery = rounds.sending(1, .sum) { [self] in
      gather.write(owned.map { recover($0, rate: Double(contribution.rate)) }, in: 1, of: rounds)
    }
    let ending = rounds.ending { [self] in turn += 1 }
    return [beginning] + sum + clipping(contribution.share) + recovery + delivering(gather, in: 1) + [ending]
  }

  /// Adds this step's sum to the momentum, scaled down to the norm `clip` if the sketches of all shards show a larger one.
  ///
  /// Source: algorithms §2.3, the clipping of the reference: a sketch is linear, so it may be scaled.
  private func clipping(_ share: Double) -> [Stage] {
    guard let clip, let norms else { return [] }
    return [
      Stage(.sum) { [self] in try norms.begin([sums.reduce(0) { $0 + $1.squaredNorm }.bitPattern]) },
      Stage.records(norms, .sum, activity: "the norm of the gradient") { [self] all in
        let norm = all.reduce(0) { $0 + Double(bitPattern: $1[0]) }.squareRoot()
        for (table, sum) in zip(momenta, sums) { table.add(sum, times: clip.factor(norm: norm, share: share) ?? 1) }
      },
    ]
  }

  /// Takes the heavy values of a shard out of its error.
  private func recover(_ shard: Int, rate: Double) -> SparseVector {
    let index = shard - owned.lowerBound
    for table in errors { table[index].add(momenta[index], times: rate) }
    let oldest = errors[turn % errors.count][index]
    let change = oldest.largest(settings.k[shard])
    for table in errors {
      switch recovery {
      case .subtract: table[index].subtract(change)
      case .zero: table[index].clear(at: change)
      }
    }
    if settings.masksMomentum {
      switch recovery {
      case .subtract: momenta[index].subtract(momenta[index].estimates(at: change.indices))
      case .zero: momenta[index].clear(at: change)
      }
    }
    if window > 0 { oldest.clear() }
    return change
  }

  /// Six standard deviations of an estimate in one row, three times what tests find for the median of five.
  var estimationError: Double {
    let columns = code.hashes.compactMap { $0?.columns }.min()
    return columns.map { 6 / (Double($0) * Double(shards.shardCount)).squareRoot() } ?? 0
  }

  var residualSquares: Double { errors[0].reduce(0) { $0 + $1.squaredNorm } }

  func contribute(to inventory: inout StateInventory) {
    let start = (0..<owned.lowerBound).reduce(0) { $0 + ShardMemory.floatCount(code, shard: $1) }
    let place = StatePlacement.owned([start..<start + memories[0].count])
    for (number, memory) in memories.enumerated() {
      inventory.tensors.append(SavedTensor(number == 0 ? "ownerMomentum" : "ownerError.\(number)", place, of: memory))
    }
    inventory.counters["windowTurn"] = String(turn)
  }

  func restore(counters: [String: String]) {
    // Checkpoints without a count are from runs that counted every step as an exchange.
    turn = (counters["windowTurn"] ?? counters["step"]).flatMap { Int($0) } ?? 0
  }

  func forget() { for memory in memories { memory.clear() } }

  func abandon() {
    exchange.abandon()
    rounds.abandon()
    norms?.abandon()
  }

  var traffic: Traffic { rounds.traffic + (norms?.traffic ?? Traffic()) }
  var predictedTraffic: Traffic { rounds.predictedTraffic + (norms?.predictedTraffic ?? Traffic()) }
}
