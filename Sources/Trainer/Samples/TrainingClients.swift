internal import Buffers
internal import Datasets

extension ClientOrder {
  /// The clients of a run, nil where nothing was said of any: then samples belong to nobody.
  ///
  /// - Parameters:
  ///   - dataset: What is dealt.
  ///   - partition: How it is dealt.
  ///   - options: What was asked for, with the number of clients where there are any.
  /// - Throws: `DataError` where so many clients cannot be served.
  init?(_ dataset: any Dataset, _ partition: ClientPartition, _ options: TrainerOptions) throws {
    guard let count = options.clients else { return nil }
    let labels = (0..<dataset.count(.train)).map { Int32(dataset.label($0, of: .train)) }
    let clients = try partition.samples(
      ofClients: count, labels: labels, classCount: dataset.classCount, seed: options.seed)
    self.init(clients, sampledCount: options.sampled ?? count, seed: options.seed)
  }

  /// A hash of who holds what.
  var fingerprint: UInt64 {
    var hash = XXHash64()
    for client in clients { client.withUnsafeBytes { hash.update($0) } }
    return hash.value
  }
}

extension TrainerOptions {
  /// Fills in the numbers of clients that follow from the number of ranks: those of the run that goes on, whatever its ranks are now,
  /// and one for each rank where a run begins.
  ///
  /// - Parameters:
  ///   - saved: The options of the run that goes on, nil for one that begins.
  ///   - rankCount: The ranks that share a step's samples.
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
