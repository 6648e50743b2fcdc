internal import Buffers

/// The order in which an owner applies the pushes of workers between two meetings.
public enum ServiceOrder: Hashable, Sendable {
  /// As they arrive.
  case live
  /// As listed, by worker; pushes that arrive too early wait.
  case listed([Int])
}

/// How fast workers are in emulated time, in which one gradient of a usual worker takes 1: the order of a run that does not depend
/// on the machine.
///
/// Source: experiments §0.
public enum EmulatedSpeed: Hashable, Sendable {
  /// All are equally fast.
  case roundRobin
  /// Each gradient takes an exponentially distributed time of mean 1.
  case exponential
  /// The last worker takes `factor` times as long as the others.
  case slow(factor: Double)
  /// Each gradient takes 1, and with probability 0.1 1 + `extra`.
  case jitter(extra: Double)

  /// Reads `rr`, `exp`, `slow:5` or `jitter:4`; nil if it is none of them.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let number = parts.count == 2 ? Double(parts[1]).flatMap { $0.isFinite && $0 >= 0 && $0 <= 1e6 ? $0 : nil } : nil
    switch (parts[0], parts.count, number) {
    case ("rr", 1, _): self = .roundRobin
    case ("exp", 1, _): self = .exponential
    case ("slow", 2, let factor?) where factor >= 1: self = .slow(factor: factor)
    case ("jitter", 2, let extra?): self = .jitter(extra: extra)
    default: return nil
    }
  }

  /// The seconds of emulated time that worker `worker` of `workerCount` takes for minibatch `minibatch`.
  func duration(of worker: Int, among workerCount: Int, minibatch: Int, seed: UInt64) -> Double {
    // One of 2²⁴ numbers in (0, 1].
    func unit() -> Double {
      let random = Philox(seed: seed, purpose: .serviceTime, step: minibatch)
      return Double((random.word(0) >> 8) + 1) * 0x1p-24
    }
    return switch self {
    case .roundRobin: 1
    case .exponential: -naturalLogarithm(unit())
    case .slow(let factor): worker == workerCount - 1 ? factor : 1
    case .jitter(let extra): unit() <= 0.1 ? 1 + extra : 1
    }
  }

  /// What happens between two meetings.
  public struct Course: Hashable, Sendable {
    /// The workers in the order of their pushes; −1 − w stands for the news that worker w is done.
    public var order: [Int] = []
    /// The emulated time until the last push.
    public var duration = 0.0
    /// The emulated time that workers spent waiting for slower ones, all together.
    public var waiting = 0.0
  }

  /// The course of `minibatches`, which workers take one after another as they become free; all begin at the same time.
  ///
  /// With a bound s, a worker that is more than s pushes ahead of the slowest that has work left waits for it.
  public func course(of minibatches: Range<Int>, workerCount: Int, bound: Int?, seed: UInt64) -> Course {
    var emulation = Emulation(workerCount: workerCount, bound: bound, next: minibatches.lowerBound, end: minibatches.upperBound)
    for worker in 0..<workerCount {
      emulation.begin(worker) { duration(of: worker, among: workerCount, minibatch: $0, seed: seed) }
    }
    emulation.settle { _, _ in 0 }
    while let worker = emulation.earliest {
      emulation.push(worker)
      emulation.settle { duration(of: $0, among: workerCount, minibatch: $1, seed: seed) }
    }
    return emulation.course
  }
}

/// The state of workers in emulated time, by the rules of a ``ShardServer``.
private struct Emulation {
  let bound: Int?
  /// The next minibatch, and the end of all.
  var next: Int
  let end: Int
  var course = EmulatedSpeed.Course()
  private var time = 0.0
  private var clocks: [Int]
  private var isFinished: [Bool]
  /// When a worker's push is due; nil if it computes nothing.
  private var due: [Double?]
  /// The workers that wait, in the order of their pushes, and since when.
  private var held: [(worker: Int, since: Double)] = []
  /// The workers whose end is to be noted.
  private var ending: [Int] = []

  init(workerCount: Int, bound: Int?, next: Int, end: Int) {
    (self.bound, self.next, self.end) = (bound, next, end)
    clocks = Array(repeating: 0, count: workerCount)
    isFinished = Array(repeating: false, count: workerCount)
    due = Array(repeating: nil, count: workerCount)
  }

  /// The worker whose push is the next; the lowest of several at the same time.
  var earliest: Int? { due.indices.filter { due[$0] != nil }.min { (due[$0]!, $0) < (due[$1]!, $1) } }

  /// Gives a worker the next minibatch, or ends it.
  mutating func begin(_ worker: Int, duration: (_ minibatch: Int) -> Double) {
    guard next < end else { return ending.append(worker) }
    due[worker] = time + duration(next)
    next += 1
  }

  /// A worker's push arrives.
  mutating func push(_ worker: Int) {
    time = due[worker]!
    due[worker] = nil
    clocks[worker] += 1
    course.order.append(worker)
    course.duration = time
    held.append((worker, time))
  }

  /// Answers the workers that may go on, and notes those that are done, until nothing changes.
  mutating func settle(duration: (_ worker: Int, _ minibatch: Int) -> Double) {
    while true {
      let slowest = clocks.indices.filter { !isFinished[$0] }.map { clocks[$0] }.min() ?? .max
      let released = held.filter { bound == nil || slowest == .max || clocks[$0.worker] - slowest <= bound! }
        .sorted { $0.worker < $1.worker }
      held.removeAll { entry in released.contains { $0.worker == entry.worker } }
      for (worker, since) in released {
        course.waiting += time - since
        begin(worker) { duration(worker, $0) }
      }
      guard !ending.isEmpty else { return }
      let worker = ending.removeFirst()
      isFinished[worker] = true
      course.order.append(-1 - worker)
    }
  }
}

/// ln x of a finite x > 0 within a few units of the last place, bit-identical on every machine.
private func naturalLogarithm(_ x: Double) -> Double {
  // x = m·2ᵉ with m in [√½, √2); ln m = 2·artanh((m − 1)/(m + 1)).
  var (m, e) = (x.significand, Double(x.exponent))
  if m > 1.4142135623730951 { (m, e) = (m / 2, e + 1) }
  let s = (m - 1) / (m + 1)
  let square = s * s
  var sum = 0.0
  for k in stride(from: 25, through: 1, by: -2) { sum = sum * square + 1 / Double(k) }
  return e * 0.6931471805599453 + 2 * s * sum
}
