internal import Buffers
internal import Collectives
internal import Networks
internal import Reporting
internal import Transport

/// The models of all workers, each of which makes its own like those of others.
protocol WorkerModels {
  /// Sets all models to this one.
  func start(from model: FloatBuffer)
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
  /// Seconds of updates, and of everything between the beginnings and the meetings of steps.
  var seconds: (update: Double, total: Double) { get }
}

extension DecentralizedDescent {
  func startFromModel() { exchange.start(from: parts.parameters) }

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
    (times.compute, times.update) = (work.computation.seconds, seconds.update)
    times.wait = max(0, seconds.total - times.compute - seconds.update)
    return times
  }
}
