internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Files
internal import MPI
internal import Networks
internal import Optimizers
internal import PointToPoint
internal import Reporting
internal import Transport

/// Asynchronous decentralized training: each worker has a model and an optimizer of its own, and averages its model with that of one
/// neighbour at a time while it computes a gradient (``PairExchange``).
///
/// A step is as many minibatches as there are workers, each a worker's share of the step's samples. The learning rate is that of a
/// worker's gradient at its own model: a step moves the mean of the models as far as a step in which the gradients are summed. One worker
/// is plain stochastic gradient descent bit for bit.
///
/// The model that represents the run is the mean of all models, at meetings. The workers go on with their own; but all minibatches up to a
/// meeting are done there, and the fast workers wait for the slow ones, so that other meetings are another run. If a rank is asked to
/// stop, all meet after the step that has begun; a replay meets where the recorded run did.
///
/// Models travel as floats. A code would have to be one of a difference to something that both ends know, and a worker knows nothing of a
/// neighbour drawn at random but what it keeps of each: that is another method (CHOCO).
/// Source: Lian et al. 2018, algorithm 1; algorithms §10.6.
/// - Cost: for each minibatch of an active worker 4 bytes a value and 16 to the rank of the neighbour, and 4 bytes a value
///   back; 16 bytes to rank 0 and back for each minibatch. At a meeting as ``GossipDescent``, and 8 bytes for each average and
///   gradient since the last.
final class PairDescent: DecentralizedDescent {
  let parts: StrategyParts
  let settings: PairSettings
  let graph: PairGraph
  let exchange: PairExchange
  let optimizers: WorkerOptimizers
  let work: WorkerComputation
  /// The gradients of each worker so far.
  var gradientCounts: [Int]
  /// Emulated time so far, if speeds are emulated.
  var emulatedTime = 0.0
  var beginsAnew = false
  var progress = DescentProgress()
  /// The traffic of records of what workers did.
  private(set) var recordTraffic = Traffic()
  /// The traffic of this rank so far, by the format alone: averages, claims of minibatches, and the models of meetings.
  private(set) var predicted = Traffic()

  var namedWorkerCount: Int? { settings.workerCount }
  var workerCount: Int { graph.count }

  init(_ parts: StrategyParts, _ settings: PairSettings) throws {
    (self.parts, self.settings) = (parts, settings)
    work = try WorkerComputation(parts, workerCount: settings.workerCount)
    let workerCount = settings.workerCount ?? parts.grid.shareCount
    graph = PairGraph(settings.shape, count: workerCount)
    var exchangeSettings = PairExchange.Settings(graph: graph)
    (exchangeSettings.shares, exchangeSettings.seed) = (settings.shares, parts.options.seed)
    exchange = try PairExchange(parts.hosts, count: parts.network.layout.count, settings: exchangeSettings)
    optimizers = WorkerOptimizers(parts, workerCount: workerCount) { parts.optimizer.fresh() }
    gradientCounts = Array(repeating: 0, count: workerCount)
    startFromModel()
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let start = begin()
    let segment = try segment(of: workerCount * step..<workerCount * meeting)
    try exchange.run(
      segment.minibatches, order: segment.order,
      isStopRequested: { [isReplay = parts.replayed != nil] in StopSignal.isRequested && !isReplay }
    ) { worker, minibatch, parameters, gradient, serve in
      try work.gradient(
        of: minibatch, for: worker, at: parameters, into: gradient, on: course,
        traffic: { exchange.traffic - start.traffic }, betweenLayers: serve)
    } update: { worker, minibatch, model, gradient, samples in
      self.update(worker, model, gradient, rate: course.rate(minibatch / workerCount), samples: samples)
    } waiting: {
      try parts.timeline.span(.exchange, nil, $0)
    }
    try meet()
    let histories = try histories()
    predicted += exchange.predictedTraffic(of: histories.map { $0.map(PairStep.init(recorded:)) })
    let done = segment.minibatches.prefix(note(histories))
    let end = done.upperBound / workerCount
    emulatedTime += done == segment.minibatches ? segment.emulatedTime : self.course(of: done)?.duration ?? 0
    var outcome = try conclude(step..<end, since: start, on: course)
    if parts.options.record != nil {
      outcome.events = EventLine(first: done.lowerBound, end: done.upperBound, orders: [], steps: histories)
    }
    return outcome
  }

  /// What workers do between two meetings.
  private struct Segment {
    var minibatches: Range<Int>
    /// In which order they average and apply gradients.
    var order = PairOrder.live
    /// How long it takes in emulated time.
    var emulatedTime = 0.0
  }

  /// What workers do of these minibatches until they meet, and how: a replay meets where the recorded run did.
  private func segment(of minibatches: Range<Int>) throws -> Segment {
    if let replayed = parts.replayed {
      let events = try replayed.events(of: minibatches, over: graph, seed: parts.options.seed)
      let end = minibatches.lowerBound + events.count
      return Segment(minibatches: minibatches.lowerBound..<end, order: .listed(events))
    }
    guard let course = course(of: minibatches) else { return Segment(minibatches: minibatches) }
    return Segment(minibatches: minibatches, order: .listed(course.events), emulatedTime: course.duration)
  }

  /// The course of minibatches in emulated time; nil if speeds are not emulated.
  private func course(of minibatches: Range<Int>) -> (events: [PairEvent], duration: Double)? {
    parts.options.emulateSpeed?.events(
      of: minibatches, over: graph, shares: settings.shares, seed: parts.options.seed)
  }

  /// What each worker did since the last meeting, as a record has it.
  ///
  /// Collective.
  private func histories() throws -> [[Int]] {
    let own = exchange.workers.map { worker in
      worker.history.map { step in
        switch step {
        case .answer(let other): Int64(-1 - other)
        case .update(let minibatch): Int64(minibatch)
        }
      }
    }
    let all = try own.map {
      try parts.hosts.gather(varying: $0, activity: "the record of what workers did", counting: &recordTraffic)
    }
    return (0..<workerCount).map { worker in
      all[exchange.placement.local(worker)][exchange.placement.rank(of: worker)].map { Int($0) }
    }
  }

  /// Counts what workers did since the last meeting; returns the number of minibatches.
  private func note(_ histories: [[Int]]) -> Int {
    let counts = histories.map { $0.count { $0 >= 0 } }
    for (worker, count) in counts.enumerated() { gradientCounts[worker] += count }
    work.advance(by: counts)
    return counts.reduce(0, +)
  }
}
