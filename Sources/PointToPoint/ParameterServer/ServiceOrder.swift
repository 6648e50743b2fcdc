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
  /// Each gradient takes one of the measured times of its worker; the lists are those of the first workers, and others take turns with
  /// them.
  case measured([[Double]])

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
  package func duration(of worker: Int, among workerCount: Int, minibatch: Int, seed: UInt64) -> Double {
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
    case .measured(let times): pick(times[worker % times.count], unit())
    }
  }

  /// The value at a share in (0, 1] of a list.
  private func pick(_ times: [Double], _ share: Double) -> Double { times[Int((share * Double(times.count)).rounded(.up)) - 1] }

  /// What happens between two meetings.
  public struct Course: Hashable, Sendable {
    /// The workers in the order of their pushes; −1 − w stands for the news that worker w is done.
    public var order: [Int] = []
    /// The emulated time until the last push.
    public var duration = 0.0
    /// The emulated time that workers spent waiting for slower ones, all together.
    public var waiting = 0.0
  }

  /// The course of `minibatches`, whose blocks workers take one after another as they become free; all begin at the same time.
  ///
  /// With a bound, a worker that is too far ahead of the slowest that has work left waits for it. A pipelined worker goes on at once,
  /// and waits before its next push until the one before is answered.
  public func course(of minibatches: Range<Int>, _ settings: ParameterServer.Settings) -> Course {
    var emulation = Emulation(speed: self, settings, blocks: settings.blocks(of: minibatches))
    while let worker = emulation.earliest { emulation.finishBlock(of: worker) }
    return emulation.course
  }
}

/// The state of workers in emulated time, by the rules of a ``ShardServer``.
private struct Emulation {
  let speed: EmulatedSpeed
  let settings: ParameterServer.Settings
  let blocks: [Range<Int>]
  var course = EmulatedSpeed.Course()
  private var nextBlock: Int
  private var time = 0.0
  private var clocks: WorkerClocks
  private var workers: [Worker]
  /// What happens at this time: pushes, and with −1 − w the news that a worker is done.
  private var events: [Int] = []

  private struct Worker {
    /// The blocks to compute, in this order.
    var blocks: [Int]
    /// When its block is computed; nil if it computes none.
    var due: Double?
    /// Whether it has computed a block that it cannot push yet.
    var isComputed = false
    var awaitsAnswer = false
    /// Since when it waits.
    var idleSince = 0.0
  }

  init(speed: EmulatedSpeed, _ settings: ParameterServer.Settings, blocks: [Range<Int>]) {
    (self.speed, self.settings, self.blocks) = (speed, settings, blocks)
    let (count, ahead) = (settings.workerCount, settings.isPipelined ? 2 : 1)
    nextBlock = min(ahead * count, blocks.count)
    clocks = WorkerClocks(workerCount: count, bound: settings.bound)
    workers = (0..<count).map { worker in
      Worker(blocks: (0..<ahead).map { $0 * count + worker }.filter { $0 < blocks.count })
    }
    for worker in workers.indices { goOn(worker) }
    takeEvents()
  }

  /// The worker whose block is computed next; the lowest of several at the same time.
  var earliest: Int? {
    workers.indices.filter { workers[$0].due != nil }.min { (workers[$0].due!, $0) < (workers[$1].due!, $1) }
  }

  /// A worker has computed its block.
  mutating func finishBlock(of worker: Int) {
    time = workers[worker].due!
    (workers[worker].due, workers[worker].idleSince) = (nil, time)
    if workers[worker].awaitsAnswer { workers[worker].isComputed = true } else { events.append(worker) }
    takeEvents()
  }

  /// Begins a worker's next block, or ends it if there is none.
  private mutating func goOn(_ worker: Int) {
    if workers[worker].blocks.isEmpty {
      if !workers[worker].awaitsAnswer { events.append(-1 - worker) }
      return
    }
    let duration = blocks[workers[worker].blocks.removeFirst()].reduce(0) {
      $0 + speed.duration(of: worker, among: workers.count, minibatch: $1, seed: settings.seed)
    }
    workers[worker].due = time + duration
  }

  /// Takes what happens at this time in its order, and what follows from it.
  private mutating func takeEvents() {
    while !events.isEmpty {
      let event = events.removeFirst()
      course.order.append(event)
      if event >= 0 {
        course.duration = time
        clocks.push(event)
        workers[event].awaitsAnswer = true
        if settings.isPipelined { goOn(event) }
      } else {
        clocks.finish(-1 - event)
      }
      for worker in clocks.release() { answer(worker) }
    }
  }

  /// A worker is answered, and gets a block.
  private mutating func answer(_ worker: Int) {
    workers[worker].awaitsAnswer = false
    if nextBlock < blocks.count {
      workers[worker].blocks.append(nextBlock)
      nextBlock += 1
    }
    guard workers[worker].due == nil else { return }
    course.waiting += time - workers[worker].idleSince
    if workers[worker].isComputed {
      workers[worker].isComputed = false
      events.append(worker)
    } else {
      goOn(worker)
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
