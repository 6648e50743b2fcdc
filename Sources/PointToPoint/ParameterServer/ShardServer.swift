internal import Buffers

/// The order in which an owner serves workers: which push comes next, who is answered when, and how old pushes are.
///
/// What it does with a push is its ``OwnerRule``. With a bound, a worker that is too far ahead of the slowest is not answered until
/// that one has caught up (``WorkerClocks``). Pulls follow from the order of pushes alone.
/// Source: algorithms §7.
final class ShardServer {
  /// The order in which pushes were applied since the last meeting, by worker; −1 − w stands for the news that worker w is done.
  private(set) var history: [Int] = []
  /// How often pushes had which staleness, by worker.
  var staleness: [[Int: Int]]
  /// What is done with pushes.
  let rule: any OwnerRule

  private let settings: ParameterServer.Settings
  private var clocks: WorkerClocks
  private var order = ServiceOrder.live
  /// The next place of a listed order.
  private var place = 0
  /// What has arrived and is not taken yet, in the order of arrival.
  private var arrivals: [Int] = []
  /// The version of each worker's last pull, and of the one at which it computed the gradients of its next push.
  private var pulledVersions: [(last: Int, used: Int)]
  /// The minibatches before this segment, and those that were pushed in it, by worker.
  private var minibatchesBefore = 0
  var minibatchCounts: [Int]

  init(_ settings: ParameterServer.Settings, rule: any OwnerRule) {
    (self.settings, self.rule) = (settings, rule)
    clocks = WorkerClocks(workerCount: settings.workerCount, bound: settings.bound)
    pulledVersions = Array(repeating: (0, 0), count: settings.workerCount)
    staleness = Array(repeating: [:], count: settings.workerCount)
    minibatchCounts = Array(repeating: 0, count: settings.workerCount)
  }

  /// Begins a segment, after a meeting at which every worker got the same values.
  func begin(_ order: ServiceOrder, minibatchesBefore: Int) {
    (self.order, self.minibatchesBefore) = (order, minibatchesBefore)
    (history, arrivals, place) = ([], [], 0)
    clocks = WorkerClocks(workerCount: settings.workerCount, bound: settings.bound)
    rule.begin()
    for worker in pulledVersions.indices {
      (pulledVersions[worker], minibatchCounts[worker]) = ((rule.version, rule.version), 0)
    }
  }

  /// The number of workers that are done.
  var endCount: Int { clocks.finishedCount }
  /// The workers that are not done.
  var unfinishedWorkers: [Int] { clocks.isFinished.indices.filter { !clocks.isFinished[$0] } }

  /// The number of minibatches that were pushed in this segment.
  var minibatchCount: Int { minibatchCounts.reduce(0, +) }

  /// Notes that a push of `worker` has arrived, or with −1 − worker the news that it is done.
  func note(_ event: Int) { arrivals.append(event) }

  /// The next event to take; nil if it has not arrived.
  ///
  /// A worker that is done before its last push of a listed order, because a stop was requested, is done in the place of that push.
  func next() -> Int? {
    guard case .listed = order else { return arrivals.isEmpty ? nil : arrivals.removeFirst() }
    guard let event = listedEvent,
      let arrival = arrivals.firstIndex(where: { $0 == event || event >= 0 && $0 == -1 - event })
    else { return nil }
    place += 1
    return arrivals.remove(at: arrival)
  }

  /// The next event of a listed order, without those of workers that are done.
  private var listedEvent: Int? {
    guard case .listed(let list) = order else { return nil }
    while place < list.count, clocks.isFinished[list[place] >= 0 ? list[place] : -1 - list[place]] { place += 1 }
    return place < list.count ? list[place] : nil
  }

  /// The worker whose push, or end, comes next in a listed order; nil if any may.
  var awaited: Int? { listedEvent.map { $0 >= 0 ? $0 : -1 - $0 } }

  /// Takes a worker's push of a block; returns the workers to answer now, in this order.
  func take(
    pushOf worker: Int, block: Range<Int>, samples: Int, gradientCount: Int, code: UnsafeRawPointer
  ) -> [Int] {
    history.append(worker)
    minibatchCounts[worker] += block.count
    let age = rule.version - pulledVersions[worker].used
    if samples > 0 { staleness[worker][age, default: 0] += 1 }
    rule.take(
      Push(
        worker: worker, minibatch: block.lowerBound, samples: samples, gradientCount: gradientCount, staleness: age,
        number: minibatchesBefore + minibatchCount), of: code)
    clocks.push(worker)
    return clocks.release()
  }

  /// Takes the news that a worker is done.
  func finish(_ worker: Int) -> [Int] {
    history.append(-1 - worker)
    clocks.finish(worker)
    return clocks.release()
  }

  /// Notes that a worker has been answered, and whether it pulled.
  func noteAnswer(to worker: Int, pulls: Bool) {
    let last = pulls ? rule.version : pulledVersions[worker].last
    // The next push of a pipelined worker is of gradients at what it had pulled before.
    pulledVersions[worker] = (last, settings.isPipelined ? pulledVersions[worker].last : last)
  }
}
