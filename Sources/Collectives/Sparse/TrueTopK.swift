internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// The reference for sketches: owners sum the gradients themselves; the k largest values of all their memory change the model.
///
///     u ← ρu + Σ g_i      e ← e + ηu      Δ = Top_k(e) over all owners      w ← w − Δ
///
/// The k-th largest magnitude of all ranks is found exactly by counts of digits (``MagnitudeSearch``).
///
/// Source: Rothchild et al. 2020, "true top-k"; algorithms §2.3 and §2.6, exact global top-k.
/// - Cost: each rank sends (K − 1)/K of its floats, and its share of the k values to K − 1 ranks: only the way back is short.
final class TrueTopK: SparseAggregation {
  let specification: String
  let shards: ShardMap
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  private let settings: SparseSettings
  private let momentum: Float
  private let scatter: LinearReduceScatter
  private let gather: SparseAllGather
  let rounds: MessageRounds
  private let counts: RecordExchange
  private let rank: Int
  private let owned: Range<Int>
  /// u and e of the owned shards, one after another.
  private let momenta: FloatBuffer
  private let errors: FloatBuffer
  /// Where each owned shard begins in them, and their end.
  private let starts: [Int]
  /// The values this rank sends to the others in this step.
  private var chosen: [SparseVector] = []

  init(_ settings: SparseSettings, parts: AggregationParts) throws {
    self.settings = settings
    (specification, shards, momentum) = (settings.specification, settings.shards, Float(parts.momentum))
    (gradients, exchange) = (parts.gradients, parts.stagedExchange)
    let world = parts.hosts.world
    rank = world.rank
    let messages = TrueTopK.messages(settings, rank: world.rank, of: world.count)
    (scatter, gather) = (messages.scatter, messages.gather)
    let owned = scatter.owned[world.rank]
    self.owned = owned
    rounds = try MessageRounds(messages.rounds, hosts: parts.hosts)
    counts = try RecordExchange(parts.hosts, capacity: 256)
    starts = owned.reduce(into: [0]) { [shards] in $0.append($0.last! + shards.count(of: $1)) }
    momenta = FloatBuffer(count: starts.last!)
    errors = FloatBuffer(count: starts.last!)
  }

  /// The messages of rank `rank` of `rankCount`, except those of the search for the threshold.
  static func messages(
    _ settings: SparseSettings, rank: Int, of rankCount: Int
  ) -> (scatter: LinearReduceScatter, gather: SparseAllGather, rounds: [MessageRounds.Round]) {
    let shards = settings.shards
    let scatter = LinearReduceScatter(DenseCode(shards), rank: rank, of: rankCount)
    let most = (0..<shards.shardCount).map { min(settings.total, shards.count(of: $0)) }
    let gather = SparseAllGather(shards, owned: scatter.owned, most: most, rank: rank)
    return (scatter, gather, [scatter.round("gradients"), gather.round("updates")])
  }

  /// Momentum and error of the owned shards.
  static func memory(_ settings: SparseSettings, _ sizes: AggregationSizes) -> [MemoryRow] {
    let scatter = messages(settings, rank: sizes.rank, of: sizes.rankCount).scatter
    let owned = scatter.owned[sizes.rank].reduce(0) { $0 + settings.shards.count(of: $1) }
    return [("memory of owners", 2 * owned), scatter.memory]
  }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      try scatter.send(gradient, in: 0, of: rounds)
      for index in 0..<momenta.count { momenta[index] *= momentum }
    }
    let sum = adding(scatter, in: 0) { [self] shard, message in
      let start = starts[shard - owned.lowerBound]
      for index in 0..<shards.count(of: shard) { momenta[start + index] += message[index] }
    }
    let choice = Stage(.sum) { [self] in
      let (u, e) = (momenta.baseAddress, errors.baseAddress)
      for index in 0..<errors.count { e[index] += contribution.rate * u[index] }
      exchange.next(searching(MagnitudeSearch(k: settings.total)))
    }
    let telling = rounds.sending(1, .sum) { [self] in gather.write(chosen, in: 1, of: rounds) }
    return [beginning] + sum + [choice] + telling + delivering(gather, in: 1) + [rounds.ending()]
  }

  /// The stages that narrow the search for the k-th largest magnitude of all ranks, one digit at a time, and then choose.
  private func searching(_ search: MagnitudeSearch) -> [Stage] {
    guard search.binCount != nil else { return choosing(search.threshold) }
    return [
      Stage(.sum) { [self] in
        try counts.begin(search.counts(of: UnsafeBufferPointer(errors.values)).map { UInt64($0) })
      },
      Stage.records(counts, .sum, activity: "the largest values") { [self] all in
        var narrowed = search
        narrowed.narrow(by: all[rank].indices.map { bin in all.reduce(0) { $0 + Int($1[bin]) } })
        exchange.next(searching(narrowed))
      },
    ]
  }

  /// The stages that take this rank's share of the k largest values out of the memory; ties go to the lowest ranks.
  private func choosing(_ threshold: MagnitudeThreshold) -> [Stage] {
    [
      Stage(.sum) { [self] in
        try counts.begin([UInt64(errors.values.count { MagnitudeThreshold.key(of: $0) == threshold.key })])
      },
      Stage.records(counts, .sum, activity: "the largest values") { [self] all in
        chosen = choose(threshold, tiesBefore: all.prefix(rank).reduce(0) { $0 + Int($1[0]) })
      },
    ]
  }

  /// This rank's share of the k largest values of all ranks, by shard; they are removed from the memory.
  private func choose(_ threshold: MagnitudeThreshold, tiesBefore: Int) -> [SparseVector] {
    var before = tiesBefore
    return owned.map { shard in
      let start = starts[shard - owned.lowerBound]
      var vector = SparseVector()
      for index in 0..<shards.count(of: shard) {
        let value = errors[start + index]
        let key = MagnitudeThreshold.key(of: value)
        guard key >= threshold.key, key > 0 else { continue }
        if key == threshold.key {
          before += 1
          guard before <= threshold.tieCount else { continue }
        }
        vector.indices.append(UInt32(index))
        vector.values.append(value)
        errors[start + index] = 0
        if settings.masksMomentum { momenta[start + index] = 0 }
      }
      return vector
    }
  }

  var residualSquares: Double { errors.sumOfSquares }

  func contribute(to inventory: inout StateInventory) {
    let start = (0..<owned.lowerBound).reduce(0) { $0 + shards.count(of: $1) }
    let place = StatePlacement.owned([start..<start + errors.count])
    inventory.tensors += [SavedTensor("ownerMomentum", place, of: momenta), SavedTensor("ownerError", place, of: errors)]
  }

  func forget() {
    momenta.clear()
    errors.clear()
  }

  func abandon() {
    exchange.abandon()
    rounds.abandon()
    counts.abandon()
  }

  var traffic: Traffic { rounds.traffic + counts.traffic }
  var predictedTraffic: Traffic {
    // At most four rounds of digits and one of ties.
    (0..<5).reduce(rounds.predictedTraffic) { sum, _ in sum + counts.predictedTraffic }
  }
}
