internal import Buffers
internal import Datasets

extension ClientOrder {
  /// The clients of a run, nil where nothing was said of any: then samples belong to nobody.
  ///
  /// - Parameters:
  ///   - dataset: What is dealt.
  ///   - partition: How it is dealt.
  ///   - options: What was asked for.
  ///   - rankCount: The ranks that share a step's samples.
  /// - Throws: `DataError` where so many clients cannot be served.
  init?(_ dataset: any Dataset, _ partition: ClientPartition, _ options: TrainerOptions, rankCount: Int) throws {
    guard partition != .independent || options.clients != nil else { return nil }
    let count = options.clients ?? rankCount
    let labels = (0..<dataset.count(.train)).map { Int32(dataset.label($0, of: .train)) }
    let clients = try partition.samples(
      ofClients: count, labels: labels, classCount: dataset.classCount, seed: options.seed)
    self.init(clients, sampledCount: options.sampled ?? min(count, rankCount), seed: options.seed)
  }

  /// A hash of who holds what.
  var fingerprint: UInt64 {
    var hash = XXHash64()
    for client in clients { client.withUnsafeBytes { unsafe hash.update($0) } }
    return hash.value
  }
}
