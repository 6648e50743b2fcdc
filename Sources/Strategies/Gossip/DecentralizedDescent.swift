internal import Buffers
internal import Kernels
internal import Networks
internal import PointToPoint
internal import Reporting
internal import Transport

/// The models of all workers, each of which makes its own like those of others.
protocol WorkerModels {
  /// This rank's traffic so far.
  var traffic: Traffic { get }
  /// Sets all models to this one.
  func start(from model: FloatBuffer)
  /// Sets `parameters` to the mean of all models on every rank; returns the mean of ‖x_i − x̄‖². Collective, at a meeting.
  func meet(into parameters: FloatBuffer) throws -> Double
  /// A copy of a worker's model on every rank, valid until the next call. Collective, at a meeting.
  func copy(of worker: Int) throws -> FloatBuffer
  /// Gives up on what is under way.
  func abandon()
}

extension GossipExchange: WorkerModels {}
extension PairExchange: WorkerModels {}

/// A strategy without servers: what ``GossipDescent`` and ``PairDescent`` share.
///
/// Each worker keeps a model and an optimizer of its own, and the mean of all models represents the run, at meetings, where nothing is in
/// flight.
protocol DecentralizedDescent: Strategy {
  associatedtype Models: WorkerModels

  var parts: StrategyParts { get }
  var exchange: Models { get }
  var optimizers: WorkerOptimizers { get }
  var work: WorkerComputation { get }
  /// The number of workers that the run names; nil if each rank is one.
  var namedWorkerCount: Int? { get }
  var workerCount: Int { get }
  /// Whether the checkpoint is of another number of workers, which all begin at its model.
  var beginsAnew: Bool { get set }
  var progress: DescentProgress { get set }
}

/// What workers have done so far, and how far apart they are.
struct DescentProgress {
  var stepCount = 0
  /// The mean of ‖x_i − x̄‖² and ‖x̄‖² at the last meeting.
  var distance = (fromMean: 0.0, ofMean: 0.0)
  /// Seconds of updates, and of everything between the beginnings and the meetings of steps.
  var seconds = (update: 0.0, total: 0.0)
}

/// When the steps up to a meeting began, and the traffic before them.
struct DescentStart {
  let stopwatch = Stopwatch()
  let traffic: Traffic
}

extension DecentralizedDescent {
  func startFromModel() { exchange.start(from: parts.parameters) }

  /// Begins the steps up to a meeting.
  func begin() -> DescentStart {
    work.begin()
    return DescentStart(traffic: exchange.traffic)
  }

  /// Applies a gradient to a worker's model.
  func update(_ worker: Int, _ model: FloatBuffer, _ gradient: FloatBuffer, rate: Float, samples: Int) {
    let stopwatch = Stopwatch()
    optimizers.step(worker, model, gradient, rate: rate, samples: samples)
    progress.seconds.update += stopwatch.seconds
  }

  /// Makes the mean of all models that of the run, and learns what all optimizers count.
  ///
  /// Collective.
  func meet() throws {
    let distance = try parts.timeline.span(.exchange) { try exchange.meet(into: parts.parameters) }
    progress.distance = (distance, parts.parameters.sumOfSquares)
    try optimizers.meet()
  }

  /// Agrees on the steps that were done up to the meeting and judges them; returns what has come of them.
  ///
  /// Collective.
  ///
  /// - Throws: `TrainingError` on every rank if the run must not go on.
  func conclude(_ steps: Range<Int>, since start: DescentStart, on course: Course) throws -> StepOutcome {
    progress.seconds.total += start.stopwatch.seconds
    let agreement = try parts.timeline.span(.agreement) { try work.agree(at: steps.upperBound, on: course) }
    var outcome = StepOutcome()
    try work.judge(steps, agreement, noting: &outcome)
    progress.stepCount += outcome.stepCount
    outcome.traffic = exchange.traffic - start.traffic
    outcome.consensusDistance = progress.distance.fromMean
    return outcome
  }

  func drain() -> Traffic { Traffic() }

  func settle() {}

  func finish() {}

  func abandon() {
    exchange.abandon()
    parts.records.abandon()
  }

  func forget() { optimizers.forgetMomentum() }

  /// Models of another number of workers are not read: all begin anew, at the mean of those.
  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    beginsAnew = (namedWorkerCount ?? shareCount) != workerCount
    if beginsAnew { inventory.tensors.removeAll(where: \.isOfWorkers) }
  }

  func showOwnModels(_ show: (FloatBuffer) throws -> Void) throws {
    guard workerCount > 1 else { return }
    for worker in 0..<workerCount { try show(exchange.copy(of: worker)) }
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    (times.compute, times.update) = (work.computation.seconds, progress.seconds.update)
    times.wait = max(0, progress.seconds.total - times.compute - times.update)
    return times
  }
}
