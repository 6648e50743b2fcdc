import Buffers
import PointToPoint
import Testing
import _TestSupport
@testable import _CollectivesSupport

/// Workers whose questions and answers take random times: nobody waits for ever, and what happened can be done again.
@Suite(.oneProcess) struct PairWorkerTests {
  /// A thousand schedules of 2 to 8 workers, on every graph; some workers are much slower than others, and so are some messages.
  @Test func noScheduleEndsInADeadlock() {
    for seed in 0..<1000 {
      var network = RandomNetwork(seed: UInt64(seed), workerCount: 2 + seed % 7, shape: GossipGraph.Shape.allCases[seed % 3])
      network.run(minibatches: 40)
      #expect(network.done == Array(0..<40), "schedule \(seed): \(network.done)")
      // Averages keep the sum, and gradients change it by theirs.
      #expect(abs(network.sum - network.expectedSum) < 1e-4, "schedule \(seed): \(network.sum) \(network.expectedSum)")
      let events = [PairEvent](merging: network.workers.map(\.history), over: network.graph, seed: network.seed)
      guard let events else {
        Issue.record("schedule \(seed): no order does the same")
        continue
      }
      #expect(events.count == 40)
      var reference = ReferencePairs(network.start)
      for event in events { reference.apply(event) { network.gradient(event.minibatch, at: $0) } }
      #expect(reference.models == network.workers.map { Array($0.model.values) }, "schedule \(seed)")
    }
  }

  /// A list of events is followed whatever comes first.
  @Test func listedEventsAreFollowed() {
    for seed in 0..<100 {
      var network = RandomNetwork(seed: UInt64(seed), workerCount: 2 + seed % 7, shape: GossipGraph.Shape.allCases[seed % 3])
      let events = EmulatedSpeed.exponential.events(of: 0..<30, over: network.graph, shares: .counter, seed: network.seed)
        .events
      network.run(by: events)
      #expect(network.done == Array(0..<30))
      var reference = ReferencePairs(network.start)
      for event in events { reference.apply(event) { network.gradient(event.minibatch, at: $0) } }
      #expect(reference.models == network.workers.map { Array($0.model.values) }, "schedule \(seed)")
    }
  }

  /// Histories that no order explains are no record.
  @Test func histories() {
    let graph = PairGraph(.ring, count: 2)
    let right: [[PairStep]] = [[.answer(to: 1), .update(minibatch: 0)], [.update(minibatch: 1)]]
    #expect([PairEvent](merging: right, over: graph, seed: 1)?.map(\.minibatch) == [1, 0])
    for wrong: [[PairStep]] in [
      [[.update(minibatch: 0)], [.update(minibatch: 1)]], [[.answer(to: 1)], []], [[.answer(to: 0)], [.update(minibatch: 1)]],
    ] {
      #expect([PairEvent](merging: wrong, over: graph, seed: 1) == nil, "\(wrong)")
    }
  }

  /// Every minibatch is done once, in the order of its speeds; with shares of their own, all do as many.
  @Test func emulatedWorkersDoEveryMinibatchOnce() {
    for count in [1, 2, 5, 8] {
      let graph = PairGraph(.complete, count: count)
      for range in [0..<0, 3..<4, 8..<21, 0..<200] {
        for speed in [EmulatedSpeed.roundRobin, .exponential, .slow(factor: 4), .jitter(extra: 4)] {
          for shares in PairShares.allCases {
            let (events, _) = speed.events(of: range, over: graph, shares: shares, seed: 2)
            #expect(events.map(\.minibatch).sorted() == Array(range), "\(count) \(range) \(speed) \(shares)")
            if shares == .own {
              #expect(events.allSatisfy { ($0.minibatch - range.lowerBound) % count == $0.worker })
            }
            for event in events {
              #expect(event.partner == graph.partner(of: event.worker, minibatch: event.minibatch, seed: 2))
            }
          }
        }
      }
    }
    let graph = PairGraph(.ring, count: 8)
    // Seven workers that do a gradient in the time in which the eighth does a quarter; with shares all wait for it.
    let (_, counted) = EmulatedSpeed.slow(factor: 4).events(of: 0..<2900, over: graph, shares: .counter, seed: 1)
    let (_, own) = EmulatedSpeed.slow(factor: 4).events(of: 0..<800, over: graph, shares: .own, seed: 1)
    #expect(abs(2900 / counted - 7.25) < 0.1 && own == 400)
  }
}

/// Workers in one process, and messages that take random times.
struct RandomNetwork {
  let seed: UInt64
  let graph: PairGraph
  let workers: [PairWorker]
  /// Their models at first.
  let start: [[Float]]
  /// The minibatches that were done, in ascending order.
  var done: [Int] { finished.sorted() }
  /// Σ of all values, and what it should be.
  var sum: Double { workers.reduce(0) { $0 + $1.model.values.reduce(0) { $0 + Double($1) } } }
  private(set) var expectedSum = 0.0

  private static let count = 3
  private let random: Philox
  private var draws = 0
  private var finished: [Int] = []
  private var computed: Set<Int> = []
  private var gradients: [Int: [Float]] = [:]
  /// The models that have been sent to a worker.
  private var inbox: [Int: FloatBuffer] = [:]
  private var counter = 0
  private var end = 0
  private var isListed = false
  private var listed: [Int: [Int]] = [:]
  private var queue: [(time: Double, action: Action)] = []

  private enum Action { case compute(Int), question(Int, to: Int), answer([Float], to: Int), look(Int) }

  init(seed: UInt64, workerCount: Int, shape: GossipGraph.Shape) {
    let (graph, random) = (PairGraph(shape, count: workerCount), Philox(seed: seed, purpose: .tests, stream: 1))
    (self.seed, self.graph, self.random) = (seed, graph, random)
    workers = (0..<workerCount).map {
      let (model, desk) = (FloatBuffer(count: Self.count), FloatBuffer(count: Self.count))
      for i in 0..<Self.count { model[i] = random.uniform($0 * Self.count + i, tensor: 1) - 0.5 }
      return PairWorker($0, in: graph, seed: seed, model: model, desk: desk)
    }
    start = workers.map { Array($0.model.values) }
  }

  /// A gradient, times the rate.
  func gradient(_ minibatch: Int, at values: [Float]) -> [Float] {
    values.enumerated().map { 0.125 * ($1 - random.uniform(minibatch * Self.count + $0, tensor: 2)) }
  }

  /// Lets them work until nothing happens any more.
  mutating func run(minibatches count: Int) { run(count, by: nil) }

  mutating func run(by events: [PairEvent]) {
    listed = Dictionary(grouping: events, by: \.worker).mapValues { $0.map(\.minibatch) }
    run(events.count, by: events)
  }

  private mutating func run(_ count: Int, by events: [PairEvent]?) {
    (end, counter, isListed, expectedSum) = (count, 0, events != nil, sum)
    for worker in workers {
      worker.begin(by: events)
      begin(worker)
    }
    while !queue.isEmpty {
      let first = queue.indices.min { queue[$0].time < queue[$1].time }!
      let (time, action) = queue.remove(at: first)
      take(action, at: time)
    }
  }

  /// A random time, now and then a long one.
  private mutating func delay() -> Double {
    draws += 2
    let time = Double(random.uniform(draws, tensor: 3))
    return random.uniform(draws + 1, tensor: 3) < 0.1 ? 20 * time : time
  }

  private mutating func begin(_ worker: PairWorker, at time: Double = 0) {
    var minibatch: Int?
    if isListed {
      minibatch = listed[worker.id]?.first
      if minibatch != nil { listed[worker.id]!.removeFirst() }
    } else if counter < end {
      minibatch = counter
      counter += 1
    }
    worker.begin(minibatch)
    guard let minibatch else { return }
    gradients[worker.id] = gradient(minibatch, at: Array(worker.read.values))
    // The last worker is slow.
    queue.append((time + delay() * (worker.id == workers.count - 1 ? 4 : 1), .compute(worker.id)))
    if let other = worker.awaited { queue.append((time + delay(), .question(worker.id, to: other))) }
  }

  private mutating func take(_ action: Action, at time: Double) {
    switch action {
    case .compute(let id):
      computed.insert(id)
      finish(workers[id], at: time)
    case .question(let id, let other):
      // What is on the way does not change.
      let values = FloatBuffer(count: Self.count)
      values.copy(from: workers[id].model)
      inbox[id] = values
      workers[other].note(id)
      // It looks for questions now and then.
      queue.append((time + delay() / 4, .look(other)))
    case .look(let id): answer(workers[id], at: time)
    case .answer(let values, let id):
      for (place, value) in values.enumerated() { workers[id].desk[place] = value }
      workers[id].takeAnswer()
      finish(workers[id], at: time)
    }
  }

  private mutating func answer(_ worker: PairWorker, at time: Double) {
    while let other = worker.answerable.first {
      worker.answer(other, averaging: inbox[other]!.baseAddress)
      queue.append((time + delay(), .answer(Array(inbox[other]!.values), to: other)))
    }
    finish(worker, at: time)
  }

  private mutating func finish(_ worker: PairWorker, at time: Double) {
    guard worker.mayUpdate, computed.remove(worker.id) != nil else { return }
    finished.append(worker.minibatch!)
    worker.finish()
    for (place, value) in gradients[worker.id]!.enumerated() {
      worker.model[place] -= value
      expectedSum -= Double(value)
    }
    begin(worker, at: time)
    queue.append((time, .look(worker.id)))
  }
}
