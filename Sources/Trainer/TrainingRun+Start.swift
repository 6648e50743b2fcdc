internal import Buffers
package import Checkpoints
internal import Codecs
internal import Collectives
internal import Datasets
internal import Files
internal import Glibc
public import MPI
public import Networks
internal import Optimizers
internal import Reporting
public import Strategies
public import Transport

extension TrainingRun {
  /// Prepares a run: checks the options, agrees with the other ranks, reads the data, and loads a checkpoint if one is resumed.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - options: What is trained, and how; the same on all ranks.
  ///   - world: The ranks that share the work.
  ///   - isSilent: Whether nothing is printed; files are still written.
  ///   - choose: Chooses the codec if the options leave it to the ranks (`auto`); nil if they may not.
  /// - Throws: `TrainingError` or `CheckpointError` on all ranks alike.
  public convenience init(
    _ options: TrainerOptions, on world: Communicator, isSilent: Bool = false, choosingCodecBy choose: CodecChooser? = nil
  ) throws {
    try self.init(options, on: world, isSilent: isSilent, patience: 10, choosingCodecBy: choose)
  }

  /// The same, for tests: another job has `patience` seconds to release this job's files, this rank may act as if it were on
  /// host `pretendedHost`, and `strategy` may replace that of the options.
  package convenience init(
    _ options: TrainerOptions, on world: Communicator, isSilent: Bool, pretendedHost: Int? = nil, patience: Double = 10,
    strategy: StrategyRecipe? = nil, choosingCodecBy choose: CodecChooser? = nil
  ) throws {
    FaultInjector.install(options.injectFault, rank: world.rank)
    try FaultInjector.reach(.start)
    let agreement = try Agreement(world: world, patience: options.waiting(isSilent: isSilent))
    let recipe = try together(agreement, otherwise: .usage) {
      try options.validate(ranks: world.count)
      var recipe = try Recipe(options)
      if let strategy { recipe.replace(strategy) }
      return recipe
    }
    var options = options
    if options.warmStart == nil, let steps = recipe.strategy.warmStartSteps(recipe.aggregation.codec?.isIdentity == false) {
      options.warmStart = .floats(steps)
    }
    if let steps = recipe.optimizer.floatSteps, options.warmStart == nil { options.warmStart = .floats(steps) }
    if let codec = recipe.optimizer.codec, options.takesUsualCodec { options.codec = codec }
    if !recipe.aggregation.capabilities.warmStarts { options.warmStart = 0 }
    if recipe.strategy.obstacles.codes != nil { options.codec = "none" }
    if recipe.strategy.obstacles.warmStart != nil { options.warmStart = 0 }
    let check = StartCheck(agreement: agreement)
    try check.program()
    try check.options(options)
    try FaultInjector.reach(.start)
    let pretendedHost = pretendedHost ?? options.pretendHosts.map { world.rank * $0 / world.count }
    func hosts(_ transport: Transport) throws -> HostMap {
      try HostMap(
        world, transport: transport, patience: options.waiting(isSilent: isSilent), pretendedHost: pretendedHost)
    }
    var grid = try RankGrid(hosts(options.transport), sliceCount: options.modelParallel)
    try together(agreement, otherwise: .inputOutput) { try prepareProducts(threads: options.threads) }

    let reading = agreement.about("reading the data")
    let dataset = try together(reading, otherwise: .configuration) { try recipe.dataset(options.seed) }
    try check.data(dataset.fingerprint)
    let network = try together(agreement, otherwise: .configuration) {
      guard dataset.count(.train) > 0, dataset.count(.test) > 0 else {
        throw TrainingError("\(options.data) has no training or no test samples", exitStatus: .configuration)
      }
      guard min(options.minibatch, dataset.count(.train)) >= grid.shareCount else {
        throw TrainingError(
          "\(options.data) has \(dataset.count(.train)) training samples, fewer than the \(grid.shareCount) ranks "
            + "that share them",
          exitStatus: .configuration)
      }
      let network = try recipe.network(dataset.form)
      let minibatch = min(options.minibatch, dataset.count(.train))
      try checkStatistics(network.statistics, minibatch: minibatch, shares: grid.shareCount, recipe, options)
      return network
    }
    let replayed = try together(agreement.about("reading a record"), otherwise: .configuration) {
      try options.replay.map(EventRecord.init)
    }
    let blocks = try grid.modelGroup.map { try BlockExchange($0) }
    let own = try blocks.map { try sliced(network, over: $0, options.model) } ?? network
    let need = MemoryNeed(
      options, recipe, network: own, sampleCount: dataset.count(.train), on: grid)
    try need.check(over: agreement)
    // Slices of a model already share memory here.
    let obstacle = grid.sliceCount == 1 ? try need.obstacleToSharing(over: agreement) : nil
    if obstacle != nil { grid = try RankGrid(hosts(.messages)) }

    let files = try together(agreement, otherwise: .inputOutput) {
      world.rank == 0 ? try RunFiles(options, ranks: world.count, hosts: grid.all.hostCount) : nil
    }
    // Rank files are identified by place in the grid, which determines what each rank holds.
    let store = try options.checkpoint.map { directory in
      let ranks =
        grid.all.world === world
        ? agreement : try Agreement(world: grid.all.world, patience: options.waiting(isSilent: isSilent))
      return CheckpointStore(directory: directory, over: ranks.about("a checkpoint"), patience: patience)
    }
    let opening = try store?.open(resume: options.resume)
    let saved = opening?.run
    options.settleClients(
      recipe.partition, saved: saved?.settledOptions, rankCount: recipe.strategy.workerCount ?? grid.shareCount)
    // Every step reads it, and it may follow from the optimizer.
    options.learningRate = options.learningRate
    try saved?.check(options.texts, exempt: Set(TrainerOptions.fields.filter(\.mayChangeOnResume).map(\.name)))
    try saved?.check(data: dataset.fingerprint, of: options.data)
    let clients = try together(reading, otherwise: .configuration) {
      try ClientOrder(dataset, recipe.partition, options, keepsPlaces: recipe.aggregation.capabilities.needsSameSamples)
    }
    try check.clients(clients?.fingerprint)
    let placement = Placement(of: grid, topology: recipe.aggregation.capabilities.isHierarchical ? options.topology : .flat)
    store?.placement = placement
    let runLog = try together(agreement, otherwise: .inputOutput) {
      try files.map { try RunLog(options, $0, isSilent: isSilent, patience: patience) }
    }
    for note in recipe.notes + (opening?.notes ?? []) { runLog?.warn(note) }
    if let obstacle { runLog?.warn(obstacle) }
    for advice in try StartAdvice(threads: options.threads, over: agreement).sentences() { runLog?.warn(advice) }
    if let warning = saved.flatMap({ placement.warning(after: $0.placement) }) { runLog?.warn(warning) }
    if let warning = saved.flatMap(StartAdvice.otherArithmetic) { runLog?.warn(warning) }
    let isSteady = clients?.isSteady(minibatch: options.minibatch, rankCount: grid.shareCount) ?? false
    if recipe.aggregation.capabilities.needsSameSamples && grid.shareCount > 1 && !isSteady {
      runLog?.warn(StartAdvice.changingSamples(options.codec, of: dataset.count(.train), ranks: grid.shareCount))
    }
    let timeline = try options.timeline.map {
      try Timeline(
        $0, of: grid.all, layout: own.layout, isAppending: options.resume, agreement: agreement, patience: patience)
    }
    blocks?.observer = timeline.map { timeline in { timeline.noteActivations(from: $0, to: $1) } }

    try FaultInjector.reach(.start)
    let labels = try options.realign.map { _ in try RealignedLabels(requiredOf: dataset, options.data) }
    let context = RunContext(
      options: options, grid: grid, blocks: blocks, agreement: agreement, dataset: dataset, network: own, labels: labels,
      replayed: replayed, store: store, runLog: runLog, timeline: timeline)
    try self.init(context, recipe, clients: clients, saved: saved, choosingCodecBy: choose)
    if let first = options.realign?.first, first > plan.epoch(of: plan.steps - 1) {
      runLog?.warn("--realign \(options.texts["realign"] ?? ""): the run ends before that, so nothing is realigned")
    }
    if let saved { try timeline.span(.resume) { try resume(saved) } } else { try startFromFile() }
  }

  /// Begins with the parameters of a file, if one is named.
  ///
  /// Collective.
  private func startFromFile() throws {
    guard let file = options.initialModel else { return }
    try together(agreement.about("reading --init"), otherwise: .configuration) {
      try SafetensorsReader(file).read(into: model.ownTensors + (model.statistics?.tensors ?? []))
    }
    model.statistics?.startFromCombined(nil)
    try strategy.startFromModel()
    tuner?.begin(with: stateInventory, minibatch: plan.minibatch)
    try replicas.verify(parameters, step: step)
  }

  /// Resumes from a checkpoint.
  private func resume(_ saved: SavedRun) throws {
    context.labels?.prepare(for: saved.counters)
    var state = inventory
    state.model += model.statistics?.tensors ?? []
    strategy.prepareToLoad(&state, savedBy: saved.ranks / grid.sliceCount)
    try context.store?.load(saved, into: &state)
    if saved.ranks != world.count { model.statistics?.startFromCombined(tuner?.best?.state.inventory) }
    progress.step = saved.step
    progress.resumed = saved
    progress.newestCheckpoint = saved.path
    strategy.restore(counters: state.counters)
    try strategy.place()
    try restorePlan(state.counters, of: saved)
    if let bits = state.counters["lossSum"].flatMap({ UInt64($0) }),
      let count = state.counters["lossSamples"].flatMap({ Int($0) })
    {
      progress.tally = LossTally(lossSum: Double(bitPattern: bits), sampleCount: count)
    }
    try replicas.verify(parameters, step: step)
    try model.statistics?.verify(over: records, step: step)
    runLog?.say(
      "resumed from \(saved.path) after step \(step) of \(plan.steps), saved by \(counted(saved.ranks, "rank"))")
  }

  /// Restores the minibatches of the epochs so far and the other tuned values.
  private func restorePlan(_ counters: [String: String], of saved: SavedRun) throws {
    guard loader.plan.restore(counters) else {
      throw CheckpointError(.configuration, "\(saved.path) does not say which minibatches were used")
    }
    shares?.restore(step: step)
    optimizer.setMinibatch(plan.minibatch(of: plan.epoch(of: step)))
    tuner?.restore(counters)
  }

  /// Everything that influences the next step.
  var inventory: StateInventory {
    var inventory = stateInventory
    inventory.counters["step"] = String(step)
    inventory.counters["data"] = hexadecimal(dataset.fingerprint)
    inventory.counters["arithmetic"] = oneDNNDescription
    inventory.counters["lossSum"] = String(progress.tally.lossSum.bitPattern)
    inventory.counters["lossSamples"] = String(progress.tally.sampleCount)
    inventory.counters["codec"] = codecChoice?.specification
    inventory.counters.merge(plan.counters) { $1 }
    context.labels?.contribute(to: &inventory)
    tuner?.contribute(to: &inventory)
    return inventory
  }

  /// What a step changes: the model and the strategy's state.
  var stateInventory: StateInventory {
    var inventory = StateInventory()
    inventory.sliceCount = grid.sliceCount
    inventory.model = model.ownTensors
    inventory.tensors = model.statistics?.state ?? []
    strategy.contribute(to: &inventory)
    shares?.contribute(to: &inventory)
    return inventory
  }

  /// Writes the final model if requested.
  func writeOutput() throws {
    guard options.output != nil else { return }
    let tensors = try model.tensors()
    try together(agreement.about("writing the model"), otherwise: .inputOutput) {
      guard let output = runLog?.output else { return }
      try Safetensors.write(tensors, metadata: [("model", options.model), ("step", String(step))], to: output)
    }
    if let output = runLog?.output {
      runLog?.say(output.isStandardOutput ? "the model was written to standard output" : "the model is in \(output.name)")
    }
  }
}

/// The slice of `network` that this rank holds; throws on all ranks if the network cannot be split.
private func sliced(
  _ network: any Network, over blocks: BlockExchange, _ name: String
) throws(TrainingError) -> any Network {
  guard let slice = network.sliced(over: blocks) else {
    throw TrainingError(
      "--model-parallel: the model '\(name)' cannot be split; softmax and mlp, without norm, dropout and dropconnect, can",
      exitStatus: .usage)
  }
  return slice
}

/// Refuses a strategy in which ranks cannot share statistics that are synchronized, and minibatches too small to have a variance.
package func checkStatistics(
  _ statistics: RunningStatistics?, minibatch: Int, shares: Int, _ recipe: Recipe, _ options: TrainerOptions
) throws(TrainingError) {
  guard let statistics else { return }
  guard !recipe.aggregation.capabilities.needsSecondGradient else {
    throw TrainingError(
      "--model \(options.model): running statistics do not go with --codec \(options.codec), which computes at two models; a model "
        + "without norm does", exitStatus: .usage)
  }
  let strategy = options.strategy.prefix { $0 != ":" }
  guard !statistics.isSynchronized || recipe.strategy.capabilities.sharesStatistics else {
    throw TrainingError(
      "--model \(options.model): norm=sync does not go with --strategy \(strategy), in which ranks do not compute each step together; "
        + "norm=batch does", exitStatus: .usage)
  }
  let parts = recipe.strategy.schedule.exchangesInStep * (statistics.isSynchronized ? 1 : shares)
  guard minibatch / parts * statistics.fewestRows > 1 else {
    throw TrainingError(
      "--model \(options.model): of a minibatch of \(minibatch) a rank has one sample, which has no variance to normalize by; raise "
        + "--minibatch", exitStatus: .usage)
  }
}

/// A block exchange connects the slices of a network.
extension BlockExchange: SliceExchange {}
