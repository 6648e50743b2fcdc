/// How many pushes each worker has done, and which of them wait for the slowest.
///
/// With a bound s, a worker that is more than s pushes ahead of the slowest that has work left waits until it no longer is. With a
/// range of bounds it waits by the lowest of them, and may first do as many further pushes as leave it the shortest wait for the
/// slowest one's next push, by the times that both took last; no clock says how long, so time is counted in pushes, and owners
/// that see the same order decide alike.
/// Source: algorithms §7.3; Zhao et al. 2019, "Dynamic stale synchronous parallel".
struct WorkerClocks {
  private let bound: ClosedRange<Int>?
  private var clocks: [Int]
  private(set) var isFinished: [Bool]
  /// Workers that wait for an answer, in the order of their pushes.
  private var held: [Int] = []
  /// The pushes so far, the number of them at each worker's last one, and how many there were from the one before to that.
  private var time = 0
  private var lastTimes: [Int]
  private var intervals: [Int]
  /// The pushes that a worker may do beyond the lowest bound before it waits; nil if it is not beyond.
  private var furtherPushes: [Int?]

  init(workerCount: Int, bound: ClosedRange<Int>?) {
    self.bound = bound
    clocks = Array(repeating: 0, count: workerCount)
    isFinished = Array(repeating: false, count: workerCount)
    lastTimes = clocks
    intervals = Array(repeating: workerCount, count: workerCount)
    furtherPushes = Array(repeating: nil, count: workerCount)
  }

  /// The number of workers that are done.
  var finishedCount: Int { isFinished.count { $0 } }

  /// Notes a push of `worker`, which waits for its answer from now on.
  mutating func push(_ worker: Int) {
    clocks[worker] += 1
    time += 1
    (intervals[worker], lastTimes[worker]) = (time - lastTimes[worker], time)
    held.append(worker)
    guard let bound, let slowest, clocks[worker] - clocks[slowest] > bound.lowerBound else { return }
    if let left = furtherPushes[worker] {
      furtherPushes[worker] = left - 1
    } else {
      furtherPushes[worker] = furtherPushes(of: worker, beyond: slowest, atMost: bound.upperBound - bound.lowerBound)
    }
  }

  /// Notes that a worker is done.
  mutating func finish(_ worker: Int) { isFinished[worker] = true }

  /// The workers that may go on, in their order, so that in step each takes its own share again.
  mutating func release() -> [Int] {
    var released: [Int] = []
    for worker in held where mayGoOn(worker) { released.append(worker) }
    held.removeAll(where: released.contains)
    return released.sorted()
  }

  /// The worker with work left that has done the fewest pushes.
  private var slowest: Int? { clocks.indices.filter { !isFinished[$0] }.min { clocks[$0] < clocks[$1] } }

  private mutating func mayGoOn(_ worker: Int) -> Bool {
    guard let bound, let slowest else { return true }
    if clocks[worker] - clocks[slowest] <= bound.lowerBound {
      furtherPushes[worker] = nil
      return true
    }
    return furtherPushes[worker].map { $0 > 0 } ?? false
  }

  /// The number of further pushes of `worker` after which the next push of `slowest` is due soonest.
  private func furtherPushes(of worker: Int, beyond slowest: Int, atMost most: Int) -> Int {
    let interval = max(1, intervals[slowest])
    func wait(after pushes: Int) -> Int {
      let end = time + pushes * intervals[worker] - lastTimes[slowest]
      return (interval - end % interval) % interval
    }
    return (0...most).min { wait(after: $0) < wait(after: $1) } ?? 0
  }
}
