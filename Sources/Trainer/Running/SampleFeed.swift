internal import Buffers
internal import Datasets

/// Gives a rank its samples of each step: its slice of the minibatch, in the order of the epoch.
///
/// The samples of a step do not depend on the number of ranks.
final class SampleFeed {
  private let dataset: any Dataset
  private let plan: RunPlan
  private let order: SampleOrder
  private let rank: Int
  private let ranks: Int
  private let batch: Minibatch
  private var epoch = -1
  private var samples: [Int32] = []
  /// Seconds spent here.
  private(set) var seconds = 0.0

  init(_ dataset: any Dataset, plan: RunPlan, seed: UInt64, rank: Int, of ranks: Int) {
    self.dataset = dataset
    self.plan = plan
    self.rank = rank
    self.ranks = ranks
    order = SampleOrder(count: plan.sampleCount, seed: seed)
    batch = Minibatch(capacity: (plan.minibatch - 1) / ranks + 1, featureCount: dataset.featureCount)
  }

  /// This rank's samples of a step; valid until the next call.
  func batch(at step: Int) -> Minibatch {
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    if plan.epoch(of: step) != epoch {
      epoch = plan.epoch(of: step)
      samples = order.epoch(epoch)
    }
    dataset.load(samples[plan.places(of: step, rank: rank, ranks: ranks)], of: .train, into: batch)
    return batch
  }
}
