internal import Buffers

/// The owner of one shard of a model: applies the pushes of workers in its order, and knows what each worker holds.
///
/// What a worker pulled last is kept for each of them: the delay of its next push is compensated by the distance to it, and what it
/// pulls next is encoded as the difference to it, so that nothing is lost. With a bound s, a worker that is more than s pushes ahead
/// of the slowest one that has work is not answered until that one has caught up. Pulls follow from the order of pushes alone.
/// Source: algorithms §7.
final class ShardServer {
  /// How pushes are applied.
  struct Rules {
    var rule = PushRule()
    /// s; nil for no bound.
    var bound: Int?
    /// The pushes whose mean is applied at once.
    var pushesPerUpdate = 1
  }

  /// What came with a push.
  struct Push {
    let worker: Int
    let minibatch: Int
    /// The number of samples; 0 for a push without a gradient.
    let samples: Int
  }

  /// Gradients of a worker that are not applied yet: their number, samples, and lowest minibatch.
  private struct Pending {
    var count = 0
    var samples = 0
    var minibatch = Int.max
  }

  /// The values of the shard in the flat buffer.
  let elements: Range<Int>
  /// The order in which pushes were applied since the last meeting, by worker; −1 − w stands for the news that worker w is done.
  private(set) var history: [Int] = []
  /// How often pushes had which staleness, by worker.
  var staleness: [[Int: Int]]
  /// s of the adaptive compensation; empty in other forms.
  let squares: FloatBuffer

  private let rules: Rules
  private let parameters: FloatBuffer
  private let update: ParameterServer.Update
  /// What each worker holds of the shard.
  private let copies: [FloatBuffer]
  /// Sums of gradients that are not applied yet, by worker.
  private let sums: [FloatBuffer]
  private var pending: [Pending]
  /// A gradient of a worker that has another one pending.
  private let second: FloatBuffer
  /// The pushes since the last update, those without a gradient among them.
  private var pushesSinceUpdate = 0
  /// The staleness of the last push.
  private var lastAge = 0
  /// The number of updates, and its value at each worker's last pull.
  private var version = 0
  private var pulledVersions: [Int]
  private var clocks: [Int]
  private var isFinished: [Bool]
  /// Workers that wait for an answer, in the order of their pushes.
  private var held: [Int] = []
  private var order = ServiceOrder.live
  /// The next place of a listed order.
  private var place = 0
  /// What has arrived and is not taken yet, in the order of arrival.
  private var arrivals: [Int] = []
  /// The number of pushes before this segment.
  private var pushesBefore = 0

  init(
    elements: Range<Int>, of parameters: FloatBuffer, workerCount: Int, rules: Rules, update: @escaping ParameterServer.Update
  ) {
    (self.elements, self.parameters, self.rules, self.update) = (elements, parameters, rules, update)
    copies = (0..<workerCount).map { _ in FloatBuffer(count: elements.count) }
    sums = (0..<workerCount).map { _ in FloatBuffer(count: elements.count) }
    pending = Array(repeating: Pending(), count: workerCount)
    second = FloatBuffer(count: rules.pushesPerUpdate > 1 ? elements.count : 0)
    pulledVersions = Array(repeating: 0, count: workerCount)
    clocks = Array(repeating: 0, count: workerCount)
    isFinished = Array(repeating: false, count: workerCount)
    staleness = Array(repeating: [:], count: workerCount)
    squares = FloatBuffer(count: rules.rule.compensation?.form == .adaptive ? elements.count : 0)
  }

  /// Begins a segment, after a meeting at which every worker got the same values.
  func begin(_ order: ServiceOrder, pushesBefore: Int) {
    (self.order, self.pushesBefore) = (order, pushesBefore)
    (history, arrivals, held, place) = ([], [], [], 0)
    for worker in copies.indices {
      copies[worker].baseAddress.update(from: values, count: elements.count)
      (clocks[worker], isFinished[worker], pulledVersions[worker]) = (0, false, version)
    }
  }

  private var values: UnsafeMutablePointer<Float> { parameters.baseAddress + elements.lowerBound }

  /// The number of pushes taken in this segment.
  var pushCount: Int { history.count { $0 >= 0 } }

  /// The number of workers that are done.
  var endCount: Int { isFinished.count { $0 } }

  // MARK: - Order

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
    while place < list.count, isFinished[list[place] >= 0 ? list[place] : -1 - list[place]] { place += 1 }
    return place < list.count ? list[place] : nil
  }

  /// The worker whose push, or end, comes next in a listed order; nil if any may.
  var awaited: Int? { listedEvent.map { $0 >= 0 ? $0 : -1 - $0 } }

  // MARK: - Pushes and pulls

  /// Where the gradient of a worker's push is decoded to.
  func gradient(of worker: Int) -> UnsafeMutablePointer<Float> {
    (pending[worker].count == 0 ? sums[worker] : second).baseAddress
  }

  /// Takes a push whose gradient has been decoded; returns the workers to answer now, in this order.
  func take(_ push: Push) -> [Int] {
    let worker = push.worker
    history.append(worker)
    clocks[worker] += 1
    if push.samples > 0 {
      let age = version - pulledVersions[worker]
      staleness[worker][age, default: 0] += 1
      let gradient = gradient(of: worker)
      rules.rule.compensation?.correct(
        gradient, now: values, before: copies[worker].baseAddress, squares: squares.baseAddress, count: elements.count)
      if pending[worker].count > 0 {
        for i in 0..<elements.count { sums[worker].baseAddress[i] += gradient[i] }
      }
      pending[worker].count += 1
      pending[worker].samples += push.samples
      pending[worker].minibatch = min(pending[worker].minibatch, push.minibatch)
      lastAge = age
    }
    pushesSinceUpdate += 1
    if pushesSinceUpdate >= rules.pushesPerUpdate { apply() }
    held.append(worker)
    return release()
  }

  /// Takes the news that a worker is done.
  func finish(_ worker: Int) -> [Int] {
    history.append(-1 - worker)
    isFinished[worker] = true
    return release()
  }

  /// Applies what is pending at the end of a segment.
  func flush() { apply() }

  /// Applies the mean of the pending gradients, added in the order of workers.
  private func apply() {
    pushesSinceUpdate = 0
    let workers = pending.indices.filter { pending[$0].count > 0 }
    guard let first = workers.first else { return }
    let sum = sums[first].baseAddress
    for worker in workers.dropFirst() {
      for i in 0..<elements.count { sum[i] += sums[worker].baseAddress[i] }
    }
    let count = workers.reduce(0) { $0 + pending[$1].count }
    if count > 1 {
      let share = 1 / Float(count)
      for i in 0..<elements.count { sum[i] *= share }
    }
    let number = pushesBefore + pushCount
    let samples = workers.reduce(0) { $0 + pending[$1].samples }
    let minibatch = workers.map { pending[$0].minibatch }.min()!
    // Of several gradients at once none is older than another by more than their number: their age is not counted.
    let age = count == 1 ? lastAge : 0
    update(elements, sum, minibatch, { [rules] in rules.rule.rate($0, staleness: age, number: number) }, samples)
    for worker in workers { pending[worker] = Pending() }
    version += 1
  }

  /// The held workers that may be answered.
  private func release() -> [Int] {
    guard let bound = rules.bound else {
      defer { held = [] }
      return held
    }
    let slowest = clocks.indices.filter { !isFinished[$0] }.map { clocks[$0] }.min() ?? .max
    // In the order of workers, so that in step each takes its own share again.
    let released = held.filter { slowest == .max || clocks[$0] - slowest <= bound }.sorted()
    held.removeAll { released.contains($0) }
    return released
  }

  /// Notes that a worker pulls all values as they are, and where they lie.
  func pull(by worker: Int) -> UnsafePointer<Float> {
    pulledVersions[worker] = version
    copies[worker].baseAddress.update(from: values, count: elements.count)
    return UnsafePointer(copies[worker].baseAddress)
  }

  /// Notes that a worker pulls a code of the difference to what it holds.
  ///
  /// - Parameters:
  ///   - scratch: Room for the shard.
  ///   - code: Encodes the difference, and decodes into scratch memory what the code carries.
  func pull(by worker: Int, scratch: UnsafeMutablePointer<Float>, code: (_ difference: UnsafeMutablePointer<Float>) -> Void) {
    pulledVersions[worker] = version
    let copy = copies[worker].baseAddress
    for i in 0..<elements.count { scratch[i] = values[i] - copy[i] }
    code(scratch)
    for i in 0..<elements.count { copy[i] += scratch[i] }
  }
}
