internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI

/// What a sketch is measured by: owners add the gradients themselves, and the k largest values of all they remember change the model.
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

  init(_ settings: SparseSettings, parts: SparseParts) throws {
    self.settings = settings
    (specification, shards, momentum) = (settings.specification, settings.shards, Float(parts.options.momentum))
    let world = parts.hosts.world
    rank = world.rank
    scatter = LinearReduceScatter(DenseCode(shards), rank: world.rank, of: world.count)
    let owned = scatter.owned[world.rank]
    self.owned = owned
    let most = (0..<shards.shardCount).map { [shards] in min(settings.total, shards.count(of: $0)) }
    gather = SparseAllGather(shards, owned: scatter.owned, most: most, rank: world.rank)
    rounds = try MessageRounds([scatter.round("gradients"), gather.round("updates")], hosts: parts.hosts)
    counts = try RecordExchange(parts.hosts, capacity: 256)
    starts = owned.reduce(into: [0]) { [shards] in $0.append($0.last! + shards.count(of: $1)) }
    momenta = FloatBuffer(count: starts.last!)
    errors = FloatBuffer(count: starts.last!)
  }

  func aggregate(
    _ gradient: FloatBuffer, step: Int, rate: Float, update: (_ shard: Int, _ change: SparseVector) -> Void
  ) throws {
    try rounds.begin()
    try scatter.send(gradient, in: 0, of: rounds)
    let (u, e) = unsafe (momenta.baseAddress, errors.baseAddress)
    for index in 0..<momenta.count { unsafe u[index] *= momentum }
    try scatter.receive(in: 0, of: rounds) { shard, message in
      let start = starts[shard - owned.lowerBound]
      for index in 0..<shards.count(of: shard) { unsafe u[start + index] += message[index] }
    }
    for index in 0..<errors.count { unsafe e[index] += rate * u[index] }
    try gather.send(chosen(), in: 1, of: rounds)
    try gather.receive(in: 1, of: rounds, update)
    try rounds.end()
  }

  /// This rank's share of the k largest values of all ranks, by shard; they leave the memory.
  private func chosen() throws -> [SparseVector] {
    var search = MagnitudeSearch(k: settings.total)
    while search.binCount != nil {
      let own = search.counts(of: UnsafeBufferPointer(errors.values)).map { UInt64($0) }
      let all = try counts.gather(own, activity: "the largest values")
      search.narrow(by: own.indices.map { bin in all.reduce(0) { $0 + Int($1[bin]) } })
    }
    let threshold = search.threshold
    let own = UInt64(errors.values.count { MagnitudeThreshold.key(of: $0) == threshold.key })
    let ties = try counts.gather([own], activity: "the largest values").map { Int($0[0]) }
    var before = ties.prefix(rank).reduce(0, +)
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
    inventory.ownedRanges = [start..<start + errors.count]
    inventory.own += [SavedTensor("ownerMomentum", of: momenta), SavedTensor("ownerError", of: errors)]
  }

  func forget() {
    momenta.clear()
    errors.clear()
  }

  var traffic: Traffic { rounds.traffic + counts.traffic }
  var predictedTraffic: Traffic {
    // Four rounds of digits and one of ties at most.
    (0..<5).reduce(rounds.predictedTraffic) { sum, _ in sum + counts.predictedTraffic }
  }
}
