package import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Optimizers
internal import Reporting
package import Strategies
internal import Transport

/// Trains a network on the ranks of a job.
///
/// ``run()`` reads from top to bottom; with one rank the same code is plain gradient descent.
public final class TrainingRun {
  /// What the run was prepared with.
  let context: RunContext
  let records: RecordExchange
  /// This rank's parameters: the model's, or those of its slice.
  package let parameters: FloatBuffer
  let model: WholeModel
  /// The codec that the ranks have chosen; nil if the options name one.
  let codecChoice: CodecChoice?
  package let strategy: any Strategy
  package let loader: BatchLoader
  let optimizer: any Optimizer
  let schedule: Schedule
  /// Meetings are at multiples of this number of steps, and at the end.
  let stepsPerMeeting: Int
  /// Tunes the minibatch and the learning rate during the run; nil if neither is tuned.
  let tuner: Tuner?
  /// Measures how fast ranks are, and shares samples by it; nil if shares do not follow speeds.
  let shares: MeasuredShares?
  let evaluator: Evaluator
  let replicas: ReplicaCheck
  let stopwatch = Stopwatch()

  /// The progress of the run.
  var progress = RunProgress()
  /// For tests: the step after which the run stops as if asked to; nil for none.
  package var lastStep: Int?

  init(_ context: RunContext, _ recipe: Recipe, clients: ClientOrder?, saved: SavedRun?, choosingCodecBy choose: CodecChooser?)
    throws
  {
    self.context = context
    let (options, grid, dataset, network) = (context.options, context.grid, context.dataset, context.network)
    var plan = RunPlan(options, sampleCount: dataset.count(.train), saved: saved?.counters ?? [:])
    plan.pacesByShares = recipe.strategy.capabilities.pacesByShares
    shares = MeasuredShares(options, rank: grid.share, of: grid.shareCount)
    parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: options.seed)
    records = try RecordExchange(grid.all)
    model = try WholeModel(network, parameters: parameters, on: grid)
    let settings = OptimizerSettings(
      layout: network.layout, momentum: Float(options.momentum), weightDecay: Float(options.weightDecay),
      minibatch: plan.minibatch, shareCount: grid.shareCount)
    optimizer = recipe.optimizer(settings)
    var parts = StrategyParts(
      grid: grid, records: records,
      sliceRecords: try grid.modelGroup.map { try RecordExchange($0) },
      blocks: context.blocks, network: network, parameters: parameters,
      optimizer: optimizer, transforms: recipe.optimizer.transforms, aggregation: recipe.aggregation, options: options,
      plan: plan)
    (parts.timeline, parts.replayed) = (context.timeline, context.replayed)
    parts.statistics = try StatisticsGather(for: network, among: parts.hosts)
    codecChoice = try context.timeline.span(.planning) {
      try CodecChoice(for: parts, saved: saved, dataset: dataset, optimizer: { recipe.optimizer(settings) }, by: choose)
    }
    if let codecChoice { parts.aggregation = AggregationRecipe(codecChoice.codec) }
    strategy = try recipe.strategy(for: parts)
    loader = BatchLoader(
      dataset, plan: plan, seed: options.seed, clients: clients, rank: grid.share, of: grid.shareCount,
      labels: context.labels)
    tuner = Tuner(
      recipe.minibatchSearch, recipe.rateControl, like: parts, optimizer: { recipe.optimizer(settings) }, loader: loader)
    schedule = recipe.schedule
    stepsPerMeeting = max(recipe.strategy.schedule.stepsPerExchange, optimizer.localSteps?.stepsPerMeeting ?? 1)
    evaluator = Evaluator(dataset, network: network, on: grid, over: records, labels: context.labels)
    replicas = ReplicaCheck(network.layout, over: records, on: grid)
    tuner?.begin(with: stateInventory, minibatch: plan.minibatch)
  }

  /// Trains to the end of the plan, or until a stop is requested.
  ///
  /// Collective.
  ///
  /// - Returns: The outcome, the same on every rank.
  /// - Throws: `TrainingError` and `ExchangeError.diverged` on all ranks; other errors only on the ranks that see them, and the
  ///   job must then be ended.
  public func run() throws -> TrainingOutcome {
    let outcome: TrainingOutcome
    do {
      outcome = try train()
      try FaultInjector.reach(.end)
      try tellTimeline()
      try FaultInjector.reach(.end)
    } catch {
      // An error that all ranks throw ends the job cleanly, so nothing may be left in flight.
      if error is TrainingError || isOnAllRanks(error) { try? strategy.settle() }
      strategy.abandon()
      timeline?.close()
      throw error
    }
    if !outcome.wasStopped { try checkSummaries() }
    return outcome
  }

  private func train() throws -> TrainingOutcome {
    try tellStart()
    StopSignal.answer = .awaited
    progress.ownSteps.begin(at: step)
    var isStopping = false
    // A job that was asked to stop saves before it evaluates.
    if progress.resumed != nil && !isDone && progress.tally.sampleCount > 0 && isEvaluationDue { try evaluate() }
    while step < plan.steps && !isStopping {
      if isRealignmentDue { try timeline.span(.realignment) { try realign() } }
      isStopping = try tune()
      if isStopping || step >= plan.steps { break }
      let course = course
      let activationBytesBefore = blocks?.traffic.bytesSent
      var outcome = try timeline.span(.step, step + 1) { try strategy.advance(from: step, to: nextMeeting, on: course) }
      progress.step += outcome.stepCount
      outcome.activationBytes = activationBytesBefore.map { (blocks?.traffic.bytesSent ?? 0) - $0 }
      outcome.traffic += progress.uncountedTraffic
      progress.uncountedTraffic = Traffic()
      if step == plan.steps { outcome.traffic += try strategy.drain() }
      isStopping = outcome.isStopRequested || lastStep.map((previousMeeting + 1...step).contains) ?? false
      progress.tally.add(outcome)
      tuner?.tally.add(outcome)
      try tell(
        outcome, rate: course.rate(step - 1), isLogged: (step - outcome.stepCount..<step).contains(where: course.isMeasured))
      try followSpeeds()
      if isStopping { break }
      if isDue(options.verifyEvery) || endsReplication { try verify() }
      if isEvaluationDue { try evaluate() }
      if isDue(options.checkpointEvery ?? 0) { try save() }
    }
    return try isStopping ? stop() : end()
  }

  /// What the strategy needs to know about the coming steps.
  private var course: Course {
    let (plan, factor) = (plan, tuner?.factor ?? 1)
    var course = Course(
      loader: loader, rate: { [self] in rate(at: $0, of: plan, factor: factor) },
      isMeasured: { [options] in ($0 + 1) % options.logEvery == 0 }, note: { [self] in tell($0) })
    if let shares { course.measure = { shares.note($0, samples: $1, seconds: $2) } }
    return course
  }

  /// Shares samples by the speeds of ranks from here on, if it is time to.
  private func followSpeeds() throws {
    let minibatch = plan.minibatch(of: plan.epoch(of: step))
    guard step < plan.steps,
      let new = try shares?.decide(
        after: step, minibatch: minibatch, current: plan.shares(in: step, of: grid.shareCount), over: records)
    else { return }
    loader.plan.share(by: new, from: step)
    runLog?.tell(
      SharesEvent(step: step, shares: new, option: plan.counters["shares"] ?? "", seconds: stopwatch.seconds))
    runLog?.say(
      "after step \(step), by their speeds ranks take \(new.map(String.init).joined(separator: ", ")) samples of a step")
  }

  /// The number of steps after which all ranks must next be synchronized: the first at which something is due.
  private var nextMeeting: Int {
    let intervals = [options.verifyEvery, options.checkpointEvery ?? 0, options.evaluateEvery ?? 0].filter { $0 > 0 }
    var due = intervals.map { (step / $0 + 1) * $0 } + [plan.firstStep(of: plan.epoch(of: step) + 1), plan.steps]
    // In the warm start the way of gradients may change with each step.
    if plan.isInWarmStart(step) { due.append(max(step + 1, plan.warmStart)) }
    let next = (due + [lastStep].compactMap { $0 }.filter { $0 > step }).min() ?? plan.steps
    return min(plan.steps, (next + stepsPerMeeting - 1) / stepsPerMeeting * stepsPerMeeting)
  }

  /// The last meeting before this one, at `step`: what became due since then is done here.
  var previousMeeting: Int { max(0, (step - 1) / stepsPerMeeting * stepsPerMeeting) }

  /// Which samples belong to which step.
  var plan: RunPlan { loader.plan }

  /// Whether there was nothing left to do when this job began.
  var isDone: Bool { progress.resumed != nil && firstStep >= plan.steps }

  /// The number of steps done when this job began.
  var firstStep: Int { progress.resumed?.step ?? 0 }

  /// Whether the model is evaluated after this step.
  private var isEvaluationDue: Bool {
    options.evaluateEvery.map(isDue) ?? (plan.epoch(of: step) > plan.epoch(of: previousMeeting))
  }

  /// Whether something done every `interval` steps (0 for never) is due after this one.
  private func isDue(_ interval: Int) -> Bool { interval > 0 && step / interval > previousMeeting / interval }

  /// Whether gradients are exchanged from here on but were not before.
  private var endsReplication: Bool { plan.phase(of: step - 1) == .replicated && plan.phase(of: step) != .replicated }

  /// Verifies that all ranks have the same model to represent the run and, after a replicated start, the same state of the
  /// optimizer, of which nothing was exchanged.
  private func verify() throws {
    try timeline.span(.verification) {
      try replicas.verify(parameters, step: step)
      try model.statistics?.verify(over: records, step: step)
      guard endsReplication else { return }
      var state = StateInventory()
      optimizer.contribute(to: &state)
      for tensor in state.tensors where tensor.placement == .replicated && tensor.values.count == parameters.count {
        try replicas.verify(tensor.values, step: step)
      }
    }
  }

  /// Evaluates the model on the test samples and reports the result.
  private func evaluate() throws {
    let result = try timeline.span(.evaluation) { try evaluator.evaluate(parameters) }
    progress.evaluation = result
    // A run that was already complete has no training loss to report with it.
    if !isDone || progress.tally.sampleCount > 0 { try tell(result) }
    progress.tally = LossTally()
  }

  /// Writes a checkpoint if one is configured; a full disk does not end the run.
  func save() throws {
    guard let store = context.store else { return }
    try timeline.span(.checkpoint) { try save(to: store) }
  }

  private func save(to store: CheckpointStore) throws {
    try strategy.settle()
    var state = inventory
    state.model = try model.tensors()
    switch try store.save(state, step: step, options: options.texts) {
    case .saved(let path):
      progress.newestCheckpoint = path
      runLog?.tell(CheckpointEvent(step: step, path: path))
    case .unchanged(let path): progress.newestCheckpoint = path
    case .failed(let warning): if let warning { runLog?.warn(warning) }
    }
  }

  /// Ends a run that was asked to stop: the checkpoint comes first, because there may be little time.
  private func stop() throws -> TrainingOutcome {
    StopSignal.answer = .given
    try strategy.settle()
    try save()
    let name = StopSignal.name ?? "another rank"
    let way =
      progress.newestCheckpoint.map { "the checkpoint is \($0); add --resume to continue" }
      ?? "there is no checkpoint, as --checkpoint was not given"
    runLog?.warn("asked to stop by \(name) after step \(step) of \(plan.steps); \(way)")
    return TrainingOutcome(
      steps: step, evaluation: progress.evaluation, modelHash: try model.hash(over: records), wasStopped: true)
  }

  /// Ends a run that has done its steps: verifies the replicas, evaluates, and writes a checkpoint and the model file.
  ///
  /// Measurements for the report come last, so that they cannot cost the run its results.
  private func end() throws -> TrainingOutcome {
    try verify()
    if progress.evaluation == nil || progress.tally.sampleCount > 0 { try evaluate() }
    try save()
    let outcome = TrainingOutcome(
      steps: step, evaluation: progress.evaluation, modelHash: try model.hash(over: records), wasStopped: false)
    try timeline.span(.end) {
      try writeOutput()
      try tellEnd(outcome)
    }
    StopSignal.answer = .given
    return outcome
  }
}
