internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Networks
internal import Optimizers
internal import Strategies
internal import Transport

/// Trains a copy of the model on a few samples to test a minibatch or a learning rate; the original is never touched.
///
/// The copy is trained by `all-reduce`, whatever the strategy of the run: with the delay of double buffering, larger
/// minibatches would look worse than they are, and their speedup would be lost (Seide et al. 2014, table 3). The copy has its
/// own parameters, momenta, residuals and exchanges, so nothing need be restored, and its traffic is counted separately.
///
/// - Cost: As much memory as the run itself, not counting networks.
final class Trial {
  /// The outcome of a trial, the same on every rank.
  struct Outcome {
    /// The mean loss of the samples as they were trained on; NaN if the trial failed.
    var loss = Double.nan
    /// The share of their targets classified correctly; NaN if the trial failed.
    var accuracy = Double.nan
  }

  private let parts: StrategyParts
  private let strategy: any Strategy
  private let loader: BatchLoader
  /// The steps that trials of the run have done so far.
  private(set) var stepCount: Int

  /// Random codes of trials are drawn by numbers from here on, which no step of a run has.
  private static let firstDrawNumber = 1 << 31

  /// Prepares trials of a run of `parts` on the samples of `loader`, with their own optimizer, after `stepCount` steps of trials.
  ///
  /// Collective.
  init(like parts: StrategyParts, optimizer: any Optimizer, loader: BatchLoader, after stepCount: Int) throws {
    var parts = parts
    parts.optimizer = optimizer
    parts.parameters = FloatBuffer(count: parts.parameters.count)
    parts.records = try RecordExchange(parts.grid.all)
    parts.statistics = try StatisticsGather(for: parts.network, among: parts.hosts)
    // A gradient that is not finite ends the trial, not the run.
    if parts.options.nonFinite == .skip { parts.options.nonFinite = .abort }
    parts.options.injectNonFinite = nil
    (self.parts, self.stepCount) = (parts, stepCount)
    strategy = try StrategyRecipe.allReduce(parts)
    self.loader = loader.copy()
  }

  /// Trains from the state `source`, reached in steps of `currentMinibatch` samples.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - source: The state of the run.
  ///   - currentMinibatch: The number of samples of the steps that led there.
  ///   - plan: The samples of each step.
  ///   - steps: The steps to do.
  ///   - rate: The learning rate of a step.
  /// - Returns: The outcome; nil if a stop was requested.
  func run(
    from source: StateInventory, currentMinibatch: Int, plan: RunPlan, steps: Range<Int>, rate: (Int) -> Float
  ) throws -> Outcome? {
    func train() throws -> Outcome? {
      try self.train(from: source, currentMinibatch: currentMinibatch, plan: plan, steps: steps, rate: rate)
    }
    // What normalizations have seen is the network's, which the run uses, too.
    guard let statistics = parts.network.statistics else { return try train() }
    return try statistics.restoring(after: train)
  }

  private func train(
    from source: StateInventory, currentMinibatch: Int, plan: RunPlan, steps: Range<Int>, rate: (Int) -> Float
  ) throws -> Outcome? {
    let inventory = inventory
    inventory.copyTensors(from: source)
    let minibatch = plan.minibatch(of: plan.epoch(of: steps.lowerBound))
    inventory.rescaleResiduals(from: currentMinibatch, to: minibatch)
    strategy.restore(counters: source.counters)
    parts.optimizer.setMinibatch(minibatch)
    loader.plan = plan
    var total = (loss: 0.0, correct: 0, samples: 0)
    do {
      for step in steps {
        let (rate, number) = (rate(step), Trial.firstDrawNumber + stepCount)
        stepCount += 1
        let outcome = try strategy.advance(
          from: step, to: step + 1,
          on: Course(
            loader: loader, rate: { _ in rate }, isMeasured: { _ in false }, note: { _ in }, drawNumber: { _ in number }))
        if outcome.isStopRequested { return nil }
        total.loss += outcome.lossSum
        total.correct += outcome.correctCount
        total.samples += outcome.sampleCount
        guard total.loss.isFinite else { return Outcome() }
      }
    } catch is TrainingError {
      // All ranks have seen the same.
      return Outcome()
    }
    return Outcome(
      loss: total.loss / Double(total.samples),
      accuracy: Double(total.correct) / Double(total.samples * parts.network.targetCount))
  }

  /// This rank's traffic so far, including the agreement on steps.
  var traffic: Traffic {
    let report = strategy.report
    return report.traffic + report.warmStartTraffic + report.agreementTraffic
  }

  private var inventory: StateInventory {
    var inventory = StateInventory()
    inventory.model = parts.network.layout.tensors.map {
      SavedTensor($0.name, shape: $0.shape, of: parts.parameters, range: $0.range)
    }
    strategy.contribute(to: &inventory)
    return inventory
  }
}
