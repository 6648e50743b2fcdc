public import Buffers
internal import Collectives
package import Datasets
internal import Transport

/// Loads a rank's samples of each step: its share of the minibatch, in the epoch's order.
///
/// The samples of a step do not depend on the number of ranks, unless each rank is its own client.
public final class BatchLoader {
  private let dataset: any Dataset
  /// Which samples belong to which step.
  package var plan: RunPlan
  private let seed: UInt64
  /// The order of the clients' samples; nil without clients.
  package let clients: ClientOrder?
  private let rank: Int
  private let ranks: Int
  private var batch: Minibatch
  /// Labels that replace the data set's own.
  private let labels: RealignedLabels?
  private var epoch = -1
  private var samples: [Int32] = []
  /// The samples of clients that are asked for by number, each in the order of one of its epochs.
  private var ownSamples: [Int: (epoch: Int, samples: [Int32])] = [:]
  /// Seconds spent loading.
  package private(set) var seconds = 0.0

  /// A loader of share `rank` of `ranks` of the samples of `dataset`, in the steps of `plan`.
  package convenience init(_ dataset: any Dataset, plan: RunPlan, seed: UInt64, rank: Int, of ranks: Int) {
    self.init(dataset, plan: plan, seed: seed, clients: nil, rank: rank, of: ranks)
  }

  package init(
    _ dataset: any Dataset, plan: RunPlan, seed: UInt64, clients: ClientOrder?, rank: Int, of ranks: Int,
    labels: RealignedLabels? = nil
  ) {
    self.dataset = dataset
    self.seed = seed
    self.clients = clients
    self.plan = plan
    self.rank = rank
    self.ranks = ranks
    self.labels = labels
    batch = Minibatch(capacity: (plan.minibatch - 1) / ranks + 1, of: dataset.form)
  }

  /// A loader of the same samples with its own position.
  package func copy() -> BatchLoader {
    BatchLoader(dataset, plan: plan, seed: seed, clients: clients, rank: rank, of: ranks, labels: labels)
  }

  /// This rank's samples of a step, or of one of the `parts` parts of it; valid until the next call.
  public func batch(at step: Int, part: Int = 0, of parts: Int = 1) -> Minibatch {
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    return load(plan.places(of: step, part: part, of: parts, rank: rank, ranks: ranks), of: step)
  }

  /// One of the `shares` shares of the samples of a step, for any worker; valid until the next call.
  func batch(at step: Int, share: Int, of shares: Int) -> Minibatch {
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    return load(plan.places(of: step, rank: share, ranks: shares), of: step)
  }

  /// All samples of a step, over all ranks; valid until the next call.
  package func wholeBatch(at step: Int) -> Minibatch {
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    return load(plan.places(of: step), of: step)
  }

  /// Samples of one client, at `places` of its own order; valid until the next call.
  ///
  /// The order begins anew, and in another way, when its samples are used up. They count as share `share` of `shares` of a step.
  func batch(of client: Int, at places: Range<Int>, in step: Int, share: Int, of shares: Int) -> Minibatch {
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    guard let clients else { fatalError("there are no clients") }
    let samples = places.map { place in
      let (epoch, index) = place.quotientAndRemainder(dividingBy: clients.clients[client].count)
      if ownSamples[client]?.epoch != epoch { ownSamples[client] = (epoch, clients.samples(of: client, epoch: epoch)) }
      return ownSamples[client]!.samples[index]
    }
    // Shares may differ by a sample.
    let position = share * ((plan.minibatch - 1) / shares + 1)
    return load(samples[...], at: MinibatchOrigin(seed: seed, step: step, position: position))
  }

  private func load(_ places: Range<Int>, of step: Int) -> Minibatch {
    let epoch = plan.epoch(of: step)
    if epoch != self.epoch {
      self.epoch = epoch
      samples =
        clients?.epoch(epoch, count: dataset.count(.train), minibatch: plan.minibatch(of: epoch))
        ?? SampleOrder(count: dataset.count(.train), seed: seed).epoch(epoch)
    }
    let position = places.lowerBound - plan.places(of: step).lowerBound
    return load(samples[places], at: MinibatchOrigin(seed: seed, step: step, position: position))
  }

  private func load(_ samples: ArraySlice<Int32>, at origin: MinibatchOrigin) -> Minibatch {
    // Minibatches may grow.
    if samples.count > batch.capacity { batch = Minibatch(capacity: samples.count, of: dataset.form) }
    batch.origin = origin
    dataset.load(samples, of: .train, into: batch)
    if let labels, labels.epoch > 0 {
      for (row, sample) in samples.enumerated() { batch.labels[row] = Int32(labels[Int(sample), .train]) }
    }
    return batch
  }
}
