internal import Buffers
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Transport

/// What normalizations keep of the batches, in files and between the ranks; nil of a network that has none.
struct ModelStatistics {
  private let statistics: RunningStatistics
  private let grid: RankGrid

  /// The statistics of `network`.
  init?(_ network: any Network, on grid: RankGrid) {
    guard let statistics = network.statistics else { return nil }
    (self.statistics, self.grid) = (statistics, grid)
  }

  /// Makes what evaluation reads from the statistics of all ranks, which stay as they are.
  ///
  /// Collective.
  ///
  /// - Communication: An all-gather of 4 bytes per value, unless the ranks hold the same.
  func combine() throws {
    guard !statistics.isSynchronized else { return }
    let own = [statistics.weight[0]] + statistics.values.values
    let all = try grid.all.enter("the statistics of normalizations") { try grid.all.world.allGather(own) }
    statistics.combine(
      stride(from: 0, to: all.count, by: own.count).map { (all[$0], all[$0 + 1..<$0 + own.count]) })
  }

  /// What evaluation reads, as tensors of the model's file.
  var tensors: [SavedTensor] { tensors(of: statistics.combined, .replicated) }

  /// This rank's part of the state of a run.
  var state: [SavedTensor] {
    guard !statistics.isSynchronized else { return tensors(of: statistics.values, .replicated) }
    return tensors(of: statistics.values, .local) + [SavedTensor("statisticsWeight", .equalShare, of: statistics.weight)]
  }

  /// Makes the statistics of this rank, and those kept in `state`, the combined ones: a number of ranks that did not save them goes on.
  func startFromCombined(_ state: StateInventory?) {
    guard !statistics.isSynchronized else { return }
    statistics.startFromCombined()
    for own in tensors {
      guard let kept = state?.tensor(own.name) else { continue }
      for index in kept.values.indices { kept.values[index] = own.values[index] }
    }
  }

  /// The hash of a model with these statistics.
  func hash(with parameters: FloatBuffer) -> UInt64 {
    var hash = XXHash64()
    for buffer in [parameters, statistics.combined] {
      hash.update(UnsafeRawBufferPointer(UnsafeMutableRawBufferPointer(buffer.values(in: 0..<buffer.count))))
    }
    return hash.value
  }

  /// Compares the statistics of the ranks, if they are to be equal.
  ///
  /// Collective.
  ///
  /// - Throws: `ExchangeError.diverged` on all ranks.
  func verify(over records: RecordExchange, step: Int) throws {
    guard statistics.isSynchronized else { return }
    try ReplicaCheck(statistics.layout, over: records, on: grid).verify(statistics.values, step: step)
  }

  private func tensors(of buffer: FloatBuffer, _ placement: StatePlacement) -> [SavedTensor] {
    statistics.layout.tensors.map { SavedTensor($0.name, placement, shape: $0.shape, of: buffer, range: $0.range) }
  }
}
