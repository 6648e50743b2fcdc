internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Files
internal import MPI
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Asynchronous training: a worker gets the gradient of its own minibatch applied by the owners of the shards, and goes on with what
/// they answer, without waiting for the other workers.
///
/// A step is as many minibatches as there are workers, each a worker's share of the step's samples, and the learning rate is that of a
/// push: one worker is plain stochastic gradient descent bit for bit. All ranks meet where something is due (evaluation, checkpoint,
/// verification, the end): there every push has been applied, every rank has the whole model, and only residuals, the owners' momenta
/// and their mean squares are left to save.
/// Source: algorithms §7; house §1.
final class Asynchronous: Strategy {
  private let parts: StrategyParts
  private let settings: AsynchronySettings
  private let workerCount: Int
  private let codec: any Codec
  private let server: ParameterServer
  private let computation: GradientComputation
  /// The learning rates of the segment, for the owners.
  private let rates = Rates()
  /// The steps in a row, up to the last meeting, of which no gradient was finite.
  private var refusedSteps = 0
  /// Emulated time so far, if speeds are emulated.
  private var emulatedTime = 0.0
  private var steps = (floats: 0, codes: 0)
  private var traffic = (floats: Traffic(), codes: Traffic())
  private var seconds = (waiting: 0.0, total: 0.0)

  /// The learning rate of each step, as the owners ask for it.
  private final class Rates {
    var rate: (Int) -> Float = { _ in 0 }
    var updateSeconds = 0.0
  }

  init(_ parts: StrategyParts, _ settings: AsynchronySettings) throws {
    (self.parts, self.settings) = (parts, settings)
    guard let codec = parts.aggregation.codec else { fatalError("a parameter server takes a codec") }
    self.codec = codec
    workerCount = settings.workerCount ?? parts.grid.shareCount
    guard workerCount % parts.grid.shareCount == 0 else {
      throw SpecificationError(
        "\(workerCount) workers cannot be shared by \(parts.grid.shareCount) ranks; their number is a multiple of that of the ranks"
      )
    }
    guard workerCount == parts.grid.shareCount || parts.options.emulateSpeed != nil else {
      throw SpecificationError(
        "a rank that is several workers needs an order: --emulate-speed rr, for example, or as many ranks as workers")
    }
    var serverSettings = ParameterServer.Settings(workerCount: workerCount)
    (serverSettings.rule, serverSettings.bound) = (settings.rule, settings.bound)
    serverSettings.pushesPerUpdate = settings.pushesPerUpdate ?? (settings.bound == 0 ? workerCount : 1)
    serverSettings.pullsFloats = settings.pullsFloats
    serverSettings.seed = parts.options.seed
    computation = GradientComputation(parts)
    let (rates, workers, parameters, optimizer) = (rates, workerCount, parts.parameters, parts.optimizer)
    server = try ParameterServer(
      parts.hosts, layout: parts.network.layout, parameters: parameters, codec: codec, settings: serverSettings
    ) { range, gradient, minibatch, adjusted, samples in
      let stopwatch = Stopwatch()
      let rate = adjusted(rates.rate(minibatch / workers))
      optimizer.prepare(samples: samples, share: 1)
      optimizer.update(range, of: parameters, with: gradient, rate: rate)
      optimizer.finish(parameters, rate: rate)
      rates.updateSeconds += stopwatch.seconds
    }
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let plan = course.loader.plan
    // The form of messages changes at meetings only.
    let phase = plan.phase(of: step)
    let end = (step + 1..<max(step + 1, meeting)).first { plan.phase(of: $0) != phase } ?? meeting
    let minibatches = workerCount * step..<workerCount * end
    let stopwatch = Stopwatch()
    let trafficBefore = server.traffic
    rates.rate = course.rate
    // The course refers to the run, which must not outlive it.
    defer { (rates.rate, computation.betweenLayers) = ({ _ in 0 }, nil) }
    var own = StepAgreement.Statement()
    var refused = 0
    let order = try order(of: minibatches)
    try server.run(minibatches, usesFloats: phase == .floats || codec.isIdentity, order: order) {
      worker, minibatch, parameters, gradient, serve in
      let (step, share) = minibatch.quotientAndRemainder(dividingBy: workerCount)
      let batch = try parts.timeline.span(.data) { course.loader.batch(at: step, share: share, of: workerCount) }
      guard batch.count > 0 else { return 0 }
      computation.betweenLayers = serve
      let found = try computation.compute(step, of: batch, among: batch.count, at: parameters, into: gradient)
      computation.accept()
      own.sampleCount += found.sampleCount
      own.correctCount += found.correctCount
      own.lossSum += found.lossSum
      guard let tensor = found.nonFiniteTensor else { return batch.count }
      own.nonFiniteTensor = own.nonFiniteTensor ?? tensor
      refused += 1
      return 0
    }
    own.clearedValues = refused
    own.isStopRequested = StopSignal.isRequested
    own.rate = course.rate(end - 1)
    seconds.total += stopwatch.seconds
    let agreement = try parts.timeline.span(.agreement) {
      try StepAgreement(own, over: parts.records, step: end - 1)
    }
    var outcome = try outcome(of: agreement, from: step, to: end, phase, server.traffic - trafficBefore)
    if parts.options.record != nil { outcome.events = try events(of: minibatches) }
    return outcome
  }

  /// The orders in which all owners applied pushes.
  private func events(of minibatches: Range<Int>) throws -> EventLine {
    let own = server.history.map { Int64($0) }
    let all = try parts.hosts.enter("the record of events") { try parts.hosts.world.allGather(own) }
    let orders = (0..<parts.grid.shareCount).map { all[$0 * own.count..<($0 + 1) * own.count].map { Int($0) } }
    return EventLine(first: minibatches.lowerBound, end: minibatches.upperBound, orders: orders)
  }

  /// The order in which this rank applies pushes.
  private func order(of minibatches: Range<Int>) throws -> ServiceOrder {
    if let replayed = parts.replayed {
      return .listed(
        try replayed.order(
          of: minibatches, shard: parts.grid.share, shardCount: parts.grid.shareCount, workerCount: workerCount))
    }
    guard let speed = parts.options.emulateSpeed.flatMap(EmulatedSpeed.init) else { return .live }
    let course = speed.course(
      of: minibatches, workerCount: workerCount, bound: settings.bound, seed: parts.options.seed)
    emulatedTime += course.duration
    return .listed(course.order)
  }

  /// The outcome of the steps up to a meeting, the same on every rank.
  private func outcome(
    of agreement: StepAgreement, from step: Int, to end: Int, _ phase: WarmStartPhase, _ spent: Traffic
  ) throws -> StepOutcome {
    var outcome = StepOutcome()
    outcome.stepCount = end - step
    outcome.add(agreement)
    outcome.traffic = spent
    if phase == .floats {
      steps.floats += end - step
      traffic.floats += spent
    } else {
      steps.codes += end - step
      traffic.codes += spent
    }
    if let (rank, tensor) = agreement.firstNonFinite {
      let count = agreement.sum(\.clearedValues)
      let name = parts.network.layout.tensors[tensor].name
      let sentence =
        "up to step \(end): \(counted(count, "gradient")) not finite (\(name) on rank \(rank)), not pushed by the workers"
      refusedSteps = count >= workerCount * (end - step) ? refusedSteps + end - step : 0
      guard parts.options.nonFinite != .abort, refusedSteps < NonFiniteGuard.limit else {
        let row = refusedSteps > 1 ? ", and \(refusedSteps) steps in a row had no other" : ""
        throw TrainingError(
          "\(sentence)\(row); lower --learning-rate, or look for values in the data that are not finite",
          exitStatus: .configuration)
      }
      outcome.warning = sentence
    } else {
      refusedSteps = 0
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
  }

  func finish() {}
}

// MARK: - State and reports

extension Asynchronous {
  func contribute(to inventory: inout StateInventory) {
    // Each owner has the state of its shard.
    var state = StateInventory()
    parts.optimizer.contribute(to: &state)
    inventory.tensors += state.tensors.map { $0.owned(server.ownElements) }
    inventory.counters.merge(state.counters) { $1 }
    server.contribute(to: &inventory)
    inventory.counters["refusedSteps"] = String(refusedSteps)
    inventory.counters["emulatedTime"] = parts.options.emulateSpeed.map { _ in String(emulatedTime.bitPattern) }
  }

  func restore(counters: [String: String]) {
    parts.optimizer.restore(counters: counters)
    refusedSteps = counters["refusedSteps"].flatMap { Int($0) } ?? 0
    emulatedTime = counters["emulatedTime"].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } ?? 0
  }

  /// How old gradients were when the owner of the first shard applied them, by worker.
  var conclusion: StrategyConclusion {
    let histograms = server.staleness
    let all = histograms.reduce(into: [Int: Int]()) { $0.merge($1) { $0 + $1 } }
    let count = all.values.reduce(0, +)
    var conclusion = StrategyConclusion()
    guard count > 0 else { return conclusion }
    let mean = Double(all.reduce(0) { $0 + $1.key * $1.value }) / Double(count)
    let pushes = histograms.map { String($0.values.reduce(0, +)) }.joined(separator: ", ")
    conclusion.lines.append(
      "gradients were \(decimal(mean, digits: 2)) pushes old when they were applied, at most \(all.keys.max()!); pushes by worker: \(pushes)"
    )
    if parts.options.emulateSpeed != nil {
      conclusion.lines.append("emulated time: \(decimal(emulatedTime, digits: 1)) gradients of a usual worker")
      conclusion.members.append(.init("emulatedTime", .number(emulatedTime)))
    }
    conclusion.members.append(
      .init(
        "staleness",
        .array(histograms.map { histogram in .integers((0...(histogram.keys.max() ?? 0)).map { histogram[$0] ?? 0 }) })))
    return conclusion
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    times.compute = computation.seconds
    times.update = rates.updateSeconds
    times.wait = max(0, seconds.total - computation.seconds - rates.updateSeconds)
    return times
  }

  var report: ExchangeReport {
    var report = ExchangeReport()
    report.codec = codec.specification
    report.isCompressed = parts.isCompressed
    (report.warmStartSteps, report.warmStartTraffic) = (steps.floats, traffic.floats)
    (report.steps, report.traffic) = (steps.codes, traffic.codes)
    report.floatTraffic = server.traffic(ofFloats: workerCount)
    report.predictedTraffic = server.predictedTraffic(of: workerCount)
    report.agreementTraffic = parts.records.traffic
    report.areHidden = true
    report.comparisonObstacle = "an asynchronous run hides its exchanges"
    return report
  }
}
