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

/// Asynchronous training: a worker pushes what its own minibatches tell to the owners of the shards, and goes on with what they
/// answer, without waiting for the other workers.
///
/// In the usual case it pushes a gradient, which owners apply; ``AsynchronySettings`` names the others.
///
/// A step is as many minibatches as there are workers, each a worker's share of the step's samples, and the learning rate is that of a
/// minibatch: one worker is plain stochastic gradient descent bit for bit. All ranks meet where something is due (evaluation, checkpoint,
/// verification, the end), and after the step that has begun if a rank is asked to stop: there every push has been applied, every rank
/// has the whole model, and only residuals, the state of owners, and models and optimizers of workers are left to save. A replay meets
/// where the recorded run did.
///
/// If the samples are dealt to clients, a worker takes those of its own: see ``WorkerClients``.
/// Source: algorithms §7, §8; frontier F1.4; house §1.
/// - Cost: for each push the codes of the model and 32 bytes for each owner, and as much back, or 4 bytes a value, to those that pull; one
///   message each of up to 52 KB. At a meeting of K ranks 4 (K − 1)/K bytes a value, and a record of 64 bytes to each other rank.
final class Asynchronous: Strategy {
  let parts: StrategyParts
  let settings: AsynchronySettings
  private let serverSettings: ParameterServer.Settings
  let workerCount: Int
  let codec: any Codec
  let server: ParameterServer
  /// The optimizers of workers that take steps of their own; nil if owners alone do.
  let workerOptimizers: WorkerOptimizers?
  let work: WorkerComputation
  /// The learning rates of the segment, for workers and owners.
  let rates = Rates()
  /// Emulated time so far, if speeds are emulated.
  var emulatedTime = 0.0
  /// The root mean square of the workers' distances to the centre at the last meeting; nil if they have no models of their own.
  private(set) var distance: Double?
  /// Whether the workers begin anew, because a checkpoint has another number of them.
  var beginsAnew = false
  private(set) var steps = (floats: 0, codes: 0)
  private(set) var traffic = (floats: Traffic(), codes: Traffic())
  /// The traffic of records of events.
  private(set) var recordTraffic = Traffic()
  private(set) var seconds = 0.0
  /// Seconds in which this rank worked as an owner between the layers of its gradients.
  private(set) var secondsBetweenLayers = 0.0
  /// What the shard of this rank had since the warm start: pushes, and their bytes and those of answers.
  private(set) var shard = (pushes: 0, pushBytes: 0, answerBytes: 0)

  /// The learning rate of each step, as it is asked for.
  final class Rates {
    var rate: (_ step: Int) -> Float = { _ in 0 }
    var updateSeconds = 0.0
  }

  /// What ranks do between two meetings.
  private struct Segment {
    var minibatches: Range<Int>
    /// Those up to the planned meeting; a replay ends where the recorded run was stopped.
    var planned: Range<Int>
    /// In which order this rank applies pushes.
    var order = ServiceOrder.live
    /// How long it takes in emulated time.
    var emulatedTime = 0.0
  }

  init(_ parts: StrategyParts, _ settings: AsynchronySettings) throws {
    (self.parts, self.settings) = (parts, settings)
    guard let codec = parts.aggregation.codec else { fatalError("a parameter server takes a codec") }
    self.codec = codec
    work = try WorkerComputation(parts, workerCount: settings.workerCount)
    workerCount = settings.workerCount ?? parts.grid.shareCount
    var serverSettings = settings.serverSettings(workerCount: workerCount, seed: parts.options.seed)
    serverSettings.shares = try settings.owners.shares(parts)
    self.serverSettings = serverSettings
    let (rates, workers, parameters, optimizer) = (rates, workerCount, parts.parameters, parts.optimizer)
    let steps = settings.workersStep ? WorkerOptimizers(parts, settings, workerCount: workers) : nil
    workerOptimizers = steps
    server = try ParameterServer(
      parts.hosts, layout: parts.network.layout, parameters: parameters, codec: codec, settings: serverSettings,
      rate: { rates.rate($0 / workers) },
      step: { worker, values, gradient, minibatch, samples in
        let stopwatch = Stopwatch()
        steps?.step(worker, values, gradient, rate: rates.rate(minibatch / workers), samples: samples)
        rates.updateSeconds += stopwatch.seconds
      }
    ) { range, gradient, minibatch, adjusted, samples in
      let stopwatch = Stopwatch()
      let rate = adjusted(rates.rate(minibatch / workers))
      optimizer.prepare(samples: samples, share: 1)
      optimizer.update(range, of: parameters, with: gradient, rate: rate)
      rates.updateSeconds += stopwatch.seconds
    } finishUpdate: { minibatch, adjusted in
      optimizer.finish(parameters, rate: adjusted(rates.rate(minibatch / workers)))
    }
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let plan = course.loader.plan
    // The form of messages changes at meetings only.
    let phase = plan.phase(of: step)
    let planned = (step + 1..<max(step + 1, meeting)).first { plan.phase(of: $0) != phase } ?? meeting
    let stopwatch = Stopwatch()
    let trafficBefore = server.traffic
    rates.rate = course.rate
    // The course refers to the run, which must not outlive it.
    defer { rates.rate = { _ in 0 } }
    work.begin()
    let segment = try segment(of: workerCount * step..<workerCount * planned)
    let count = try server.run(
      segment.minibatches, of: segment.planned, usesFloats: phase == .floats || codec.isIdentity, order: segment.order,
      isStopRequested: { [isReplay = parts.replayed != nil] in StopSignal.isRequested && !isReplay },
      waiting: { try parts.timeline.span(.exchange, nil, $0) }
    ) { worker, minibatch, parameters, gradient, serve in
      try work.gradient(
        of: minibatch, for: worker, at: parameters, into: gradient, on: course, traffic: { server.traffic - trafficBefore },
        betweenLayers: serve)
    }
    let end = step + count / workerCount
    work.advance(by: server.minibatchCounts)
    seconds += stopwatch.seconds
    secondsBetweenLayers += server.service.secondsBetweenLayers
    if phase != .floats {
      shard.pushes += server.service.pushTimes.count
      shard.pushBytes += server.service.pushByteCount
      shard.answerBytes += server.service.answerByteCount
    }
    let agreement = try parts.timeline.span(.agreement) {
      try workerOptimizers?.meet()
      try server.shareStaleness(over: parts.hosts)
      distance = try distanceToCentre()
      return try work.agree(at: end, on: course)
    }
    var outcome = try outcome(of: agreement, from: step, to: end, phase, server.traffic - trafficBefore)
    let done = segment.minibatches.prefix(count)
    emulatedTime += done == segment.minibatches ? segment.emulatedTime : self.course(of: done)?.duration ?? 0
    if parts.options.record != nil { outcome.events = try events(of: done, planned: segment.planned) }
    return outcome
  }

  /// The orders in which all owners applied pushes.
  private func events(of minibatches: Range<Int>, planned: Range<Int>) throws -> EventLine {
    let own = server.history.map { Int64($0) }
    let all = try parts.hosts.gather(varying: own, activity: "the record of events", counting: &recordTraffic)
    return EventLine(
      first: minibatches.lowerBound, end: minibatches.upperBound,
      planned: planned == minibatches ? nil : planned.upperBound, orders: all.map { $0.map { Int($0) } },
      owners: serverSettings.shares.map { shares in shares.indices.filter { shares[$0] > 0 } })
  }

  /// What ranks do of these minibatches until they meet, and how: a replay meets where the recorded run did.
  private func segment(of minibatches: Range<Int>) throws -> Segment {
    if let replayed = parts.replayed {
      let (done, planned, order) = try replayed.order(
        of: minibatches, shard: parts.grid.share, shardCount: parts.grid.shareCount, serverSettings)
      return Segment(minibatches: done, planned: planned, order: .listed(order))
    }
    guard let course = course(of: minibatches) else { return Segment(minibatches: minibatches, planned: minibatches) }
    return Segment(
      minibatches: minibatches, planned: minibatches, order: .listed(course.order), emulatedTime: course.duration)
  }

  /// The course of minibatches in emulated time; nil if speeds are not emulated.
  private func course(of minibatches: Range<Int>) -> EmulatedSpeed.Course? {
    parts.options.emulateSpeed?.course(of: minibatches, serverSettings)
  }

  /// The outcome of the steps up to a meeting, the same on every rank.
  private func outcome(
    of agreement: StepAgreement, from step: Int, to end: Int, _ phase: WarmStartPhase, _ spent: Traffic
  ) throws -> StepOutcome {
    var outcome = StepOutcome()
    try work.judge(step..<end, agreement, noting: &outcome)
    outcome.traffic = spent
    if phase == .floats {
      steps.floats += end - step
      traffic.floats += spent
    } else {
      steps.codes += end - step
      traffic.codes += spent
    }
    return outcome
  }

  func drain() -> Traffic { Traffic() }

  func settle() {}

  func abandon() {
    server.abandon()
    parts.records.abandon()
  }

  func forget() {
    server.forget()
    parts.optimizer.forgetMomentum()
    workerOptimizers?.forgetMomentum()
  }

  func startFromModel() { server.setModels(areThere: false) }

  func finish() {}
}
