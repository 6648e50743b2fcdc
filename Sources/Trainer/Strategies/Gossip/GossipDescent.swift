internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Files
internal import Kernels
internal import MPI
internal import Networks
internal import Optimizers
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
final class GossipDescent: Strategy {
  let parts: StrategyParts
  let settings: GossipSettings
  let exchange: GossipExchange
  let optimizers: WorkerOptimizers
  let workerCount: Int
  private let computation: GradientComputation
  /// The samples that each client has given; nil without clients.
  var clients: WorkerClients?
  var refused: RefusedGradients
  /// The mean of ‖x_i − x̄‖² and ‖x̄‖² at the last meeting.
  private(set) var distance = (fromMean: 0.0, ofMean: 0.0)
  /// Whether the checkpoint is of another number of workers, which all begin at its model.
  var beginsAnew = false
  private(set) var stepCount = 0
  private var seconds = (update: 0.0, total: 0.0)

  init(_ parts: StrategyParts, _ settings: GossipSettings) throws {
    (self.parts, self.settings) = (parts, settings)
    let rankCount = parts.grid.shareCount
    workerCount = settings.workerCount ?? rankCount
    guard workerCount % rankCount == 0 else {
      throw OptionError(
        "--strategy: \(workerCount) workers cannot be shared by \(rankCount) ranks; their number is a multiple of that of the ranks"
      )
    }
    guard parts.plan.minibatch >= workerCount else {
      throw OptionError(
        "--minibatch \(parts.plan.minibatch) is smaller than the \(workerCount) workers, each of which takes a sample at least")
    }
    try settings.checkContraction(of: workerCount)
    exchange = try GossipExchange(
      parts.hosts, layout: parts.network.layout, settings: settings.exchange(parts, workerCount: workerCount))
    optimizers = WorkerOptimizers(parts, workerCount: workerCount) { parts.optimizer.fresh() }
    computation = GradientComputation(parts)
    clients = try parts.options.clients.map { [workerCount] in
      try WorkerClients(clientCount: $0, workerCount: workerCount, minibatch: parts.plan.minibatch)
    }
    refused = RefusedGradients(parts)
    startFromModel()
  }

  func startFromModel() { exchange.start(from: parts.parameters) }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let (stopwatch, trafficBefore) = (Stopwatch(), exchange.traffic)
    var own = StepAgreement.Statement()
    var clients = clients
    defer { computation.betweenLayers = nil }
    let end = try exchange.run(
      step..<meeting, isStopRequested: { StopSignal.isRequested }
    ) { worker, step, parameters, gradient, serve in
      try FaultInjector.reach(.step, step + 1)
      let minibatch = step * workerCount + worker
      let batch = try parts.timeline.span(.data) {
        course.loader.batch(of: minibatch, for: worker, of: workerCount, from: &clients)
      }
      guard batch.count > 0 else { return 0 }
      computation.betweenLayers = serve
      let found = try computation.compute(step, of: batch, among: batch.count, at: parameters, into: gradient)
      course.note(
        Course.Passage(
          step: step, loss: LossTally(lossSum: found.lossSum, sampleCount: found.sampleCount),
          traffic: exchange.traffic - trafficBefore))
      guard note(found, in: &own) else { return 0 }
      weigh(gradient, samples: batch.count, in: step)
      return batch.count
    } update: { worker, step, model, gradient, samples in
      let stopwatch = Stopwatch()
      optimizers.step(worker, model, gradient, rate: course.rate(step), samples: samples)
      seconds.update += stopwatch.seconds
    } waiting: {
      try parts.timeline.span(.exchange, nil, $0)
    }
    let consensus = try parts.timeline.span(.exchange) { try exchange.meet(into: parts.parameters) }
    distance = (consensus, parts.parameters.sumOfSquares)
    try optimizers.meet()
    self.clients?.advance(by: Array(repeating: end - step, count: workerCount))
    seconds.total += stopwatch.seconds
    own.isStopRequested = StopSignal.isRequested
    own.rate = course.rate(end - 1)
    let agreement = try parts.timeline.span(.agreement) {
      try StepAgreement(own, over: parts.records, step: end - 1)
    }
    var outcome = StepOutcome()
    outcome.stepCount = end - step
    stepCount += outcome.stepCount
    outcome.add(agreement)
    outcome.traffic = exchange.traffic - trafficBefore
    outcome.consensusDistance = consensus
    outcome.warning = try refused.judge(step..<end, gradientCount: workerCount * (end - step), agreement)
    return outcome
  }

  /// Adds the gradient of a minibatch to this rank's statement; returns whether it counts.
  private func note(_ found: StepAgreement.Statement, in own: inout StepAgreement.Statement) -> Bool {
    own.sampleCount += found.sampleCount
    own.correctCount += found.correctCount
    own.lossSum += found.lossSum
    own.clearedValues += found.clearedValues
    guard let tensor = found.nonFiniteTensor else {
      computation.accept()
      return true
    }
    own.nonFiniteTensor = own.nonFiniteTensor ?? tensor
    own.clearedValues += 1
    return false
  }

  /// Scales the mean gradient of a worker's n of the N samples of a step by K·n/N, so that the mean over workers is that over samples.
  ///
  /// Source: algorithms §10.2.
  private func weigh(_ gradient: FloatBuffer, samples: Int, in step: Int) {
    let all = clients == nil ? parts.plan.places(of: step).count : parts.plan.minibatch
    guard samples * workerCount != all else { return }
    let factor = Float(Double(samples * workerCount) / Double(all))
    for index in 0..<gradient.count { gradient.baseAddress[index] *= factor }
  }

  func drain() -> Traffic { Traffic() }

  func settle() {}

  func abandon() {
    exchange.abandon()
    parts.records.abandon()
  }

  func forget() { optimizers.forgetMomentum() }

  func finish() {}

  func showOwnModels(_ show: (FloatBuffer) throws -> Void) throws {
    guard workerCount > 1 else { return }
    for worker in 0..<workerCount { try show(exchange.copy(of: worker)) }
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    (times.compute, times.update) = (computation.seconds, seconds.update)
    times.wait = max(0, seconds.total - computation.seconds - seconds.update)
    return times
  }
}
