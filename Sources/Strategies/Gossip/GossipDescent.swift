internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Files
internal import Kernels
internal import MPI
internal import Networks
internal import Optimizers
internal import PointToPoint
internal import Reporting
internal import Transport

/// Decentralized training in steps: each worker has a model and an optimizer of its own, and makes its model like those of its neighbours
/// (``GossipExchange``).
///
/// In each step every worker computes the gradient of its share of the step's samples. The learning rate is that of a worker's gradient
/// at its own model, scaled where shares differ, so that a step moves the mean of the models as far as a step in which the gradients are
/// summed. One worker is plain stochastic gradient descent bit for bit.
///
/// A rank waits for its neighbours alone. The model that represents the run is the mean of all models, at meetings; workers go on with
/// their own, and meetings change nothing. All runs repeat bit for bit on any number of ranks that share the workers. If a rank is
/// asked to stop, the word goes from neighbour to neighbour, and all meet after the first step before which everyone knows.
///
/// Source: Lian et al. 2017; Koloskova et al. 2019; Assran et al. 2019; Kolehmainen et al. 2025; algorithms §10, frontier F1.7.
/// - Cost: in a step, for each worker of a rank, a message of the method (a model or its code) and 16 bytes to each other rank that has
///   neighbours of it. At a meeting of K ranks with L workers each 4 (L + 1) (K − 1)/K bytes a value for the mean, in (L + 1) (K − 1)
///   messages, and a record of 64 bytes to each other rank.
final class GossipDescent: DecentralizedDescent {
  let parts: StrategyParts
  let settings: GossipSettings
  let exchange: GossipExchange
  let optimizers: WorkerOptimizers
  let workerCount: Int
  let work: WorkerComputation
  var beginsAnew = false
  var progress = DescentProgress()
  /// The traffic of the steps and the meetings so far, by the format alone, and if messages were floats.
  private(set) var predicted = (codes: Traffic(), floats: Traffic())

  var namedWorkerCount: Int? { settings.workerCount }

  init(_ parts: StrategyParts, _ settings: GossipSettings) throws {
    (self.parts, self.settings) = (parts, settings)
    work = try WorkerComputation(parts, workerCount: settings.workerCount, hasFreeOrder: false)
    workerCount = settings.workerCount ?? parts.grid.shareCount
    guard parts.plan.minibatch >= workerCount else {
      throw OptionError(
        "--minibatch \(parts.plan.minibatch) is smaller than the \(workerCount) workers, each of which takes a sample at least")
    }
    try settings.checkContraction(of: workerCount)
    exchange = try GossipExchange(
      parts.hosts, layout: parts.network.layout, settings: settings.exchange(parts, workerCount: workerCount))
    optimizers = WorkerOptimizers(parts, workerCount: workerCount) { parts.optimizer.fresh() }
    startFromModel()
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let start = begin()
    let end = try exchange.run(
      step..<meeting, isStopRequested: { StopSignal.isRequested }
    ) { worker, step, parameters, gradient, serve in
      let samples = try work.gradient(
        of: step * workerCount + worker, for: worker, at: parameters, into: gradient, on: course,
        traffic: { exchange.traffic - start.traffic }, betweenLayers: serve)
      if samples > 0 { weigh(gradient, samples: samples, in: step) }
      return samples
    } update: { worker, step, model, gradient, samples in
      self.update(worker, model, gradient, rate: course.rate(step), samples: samples)
    } waiting: {
      try parts.timeline.span(.exchange, nil, $0)
    }
    try meet()
    work.advance(by: Array(repeating: end - step, count: workerCount))
    predicted.codes += exchange.predictedTraffic(in: step..<end) + exchange.predictedMeetingTraffic
    predicted.floats += floatTraffic(in: step..<end) + exchange.predictedMeetingTraffic
    return try conclude(step..<end, since: start, on: course)
  }

  /// Scales the mean gradient of a worker's n of the N samples of a step by K·n/N, so that the mean over workers is that over samples.
  ///
  /// Source: algorithms §10.2.
  private func weigh(_ gradient: FloatBuffer, samples: Int, in step: Int) {
    let all = parts.options.clients == nil ? parts.plan.places(of: step).count : parts.plan.minibatch
    guard samples * workerCount != all else { return }
    multiply(gradient.values, by: Float(Double(samples * workerCount) / Double(all)))
  }
}
