internal import Buffers
internal import Datasets
internal import Strategies

extension ClientOrder {
  /// The clients of a run; nil if none were requested.
  ///
  /// - Parameters:
  ///   - dataset: The data to distribute.
  ///   - partition: How it is distributed.
  ///   - options: The options, with the number of clients if there are any.
  ///   - keepsPlaces: Whether each rank has the same client in every step, if there are as many.
  /// - Throws: `DataError` if that many clients cannot be served.
  init?(
    _ dataset: any Dataset, _ partition: ClientPartition, _ options: TrainerOptions, keepsPlaces: Bool = false
  ) throws {
    guard let count = options.clients else { return nil }
    let labels = (0..<dataset.count(.train)).map { Int32(dataset.label($0, of: .train)) }
    let clients = try partition.samples(
      ofClients: count, labels: labels, classCount: dataset.classCount, seed: options.seed)
    self.init(clients, sampledCount: options.sampled ?? count, seed: options.seed)
    self.keepsPlaces = keepsPlaces
  }

  /// Whether every step of `minibatch` samples is all samples, and each of `rankCount` ranks has one client's.
  func isSteady(minibatch: Int, rankCount: Int) -> Bool {
    let count = clients.reduce(0) { $0 + $1.count }
    return keepsPlaces && minibatch >= count && sampledCount == clients.count
      && clients.map(\.count) == Partition(count: count, into: rankCount).ranges.map(\.count)
  }

  /// A hash of which client holds which samples.
  var fingerprint: UInt64 {
    var hash = XXHash64()
    for client in clients { client.withUnsafeBytes { hash.update($0) } }
    return hash.value
  }
}

extension TrainerOptions {
  /// Fills in the client counts that depend on the number of ranks: those of the resumed run, whatever its ranks are now, or
  /// one client per rank for a new run.
  ///
  /// - Parameters:
  ///   - saved: The options of the resumed run; nil for a new one.
  ///   - rankCount: The number of ranks that share a step's samples.
  mutating func settleClients(_ partition: ClientPartition, saved: [String: String]?, rankCount: Int) {
    if let saved {
      self.clients = self.clients ?? saved["clients"].flatMap { Int($0) }
      self.sampled = self.sampled ?? saved["sampled"].flatMap { Int($0) }
    } else if partition != .independent || self.clients != nil {
      let clients = self.clients ?? rankCount
      self.clients = clients
      self.sampled = self.sampled ?? min(clients, rankCount)
    }
  }
}
