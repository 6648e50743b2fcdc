internal import Buffers
internal import Codecs
public import Collectives
public import Datasets
public import Networks
public import Optimizers
public import Strategies
internal import Transport

/// The choices of a run's options, looked up by name: what can be known before data are read and ranks connect.
public struct Recipe {
  /// Makes the network for the samples of a data set.
  public let network: NetworkRecipe
  /// Opens the data.
  public let dataset: DatasetRecipe
  /// How training samples are distributed to clients.
  public let partition: ClientPartition
  /// Makes the optimizer.
  public let optimizer: OptimizerRecipe
  /// How the learning rate changes.
  public let schedule: Schedule
  /// How gradients are aggregated after the warm start; the sum of floats until `--codec auto` is decided.
  public private(set) var aggregation: AggregationRecipe
  /// How the minibatch is tuned; nil if it is fixed.
  public let minibatchSearch: MinibatchSearch?
  /// How the learning rate is tuned; nil if it follows its schedule.
  public let rateControl: RateControl?
  /// Whether a minibatch or a rate is searched by trials.
  var searches: Bool {
    if case .search = rateControl { true } else { minibatchSearch != nil }
  }
  /// When ranks exchange what.
  public private(set) var strategy: StrategyRecipe
  /// Notes on options that have no effect; sentences without a full stop.
  private(set) var notes: [String] = []

  /// Looks everything up; throws `OptionError` with the unknown name and the known ones.
  public init(_ options: TrainerOptions) throws {
    network = try Recipe.look("model", options.model, in: models)
    let data = try Recipe.look("data", options.data, in: datasets)
    do { dataset = try data.forModel(reading: Recipe.context(of: options.model)) } catch {
      throw OptionError("--data: \(error)")
    }
    partition = try Recipe.look("partition", options.partition, in: partitions)
    guard partition == .independent || !dataset.isText else {
      throw OptionError(
        "--partition \(options.partition) does not go with --data \(options.data): the windows of a text have no class to be "
          + "dealt by; iid goes with it")
    }
    optimizer = try Recipe.look("optimizer", options.optimizer, in: optimizers)
    if let source = optimizer.ownMomentum, options.momentum != TrainerOptions().momentum {
      throw OptionError(
        "--momentum \(options.momentum) does not go with --optimizer \(options.optimizer), whose \(source) gives the momentum")
    }
    if let reason = optimizer.obstacles.slices, options.modelParallel > 1 {
      throw OptionError(
        "--optimizer \(options.optimizer) does not go with --model-parallel \(options.modelParallel): \(reason)")
    }
    schedule = try Recipe.look("schedule", options.schedule, in: schedules)
    strategy = try Recipe.look("strategy", options.strategy, in: strategies)
    if let key = strategy.ownMomentum {
      let (name, defaults) = (options.strategy.prefix { $0 != ":" }, TrainerOptions())
      for (option, isGiven) in [
        ("momentum \(options.momentum)", options.momentum != defaults.momentum || options.given.contains("momentum")),
        ("optimizer \(options.optimizer)", options.optimizer != defaults.optimizer),
      ] where isGiven {
        throw OptionError("--\(option) does not go with --strategy \(name), whose \(key) gives the momentum of its workers")
      }
    }
    if strategy.aggregation != nil, options.given.contains("codec") || options.codec != TrainerOptions().codec {
      let name = options.strategy.prefix { $0 != ":" }
      throw OptionError(
        "--codec \(options.codec) does not go with --strategy \(name), which has a code of its own; leave it out")
    }
    var codec = options.codec == CodecChoice.word ? "none" : options.codec
    if let own = optimizer.codec, options.takesUsualCodec { codec = own }
    if strategy.obstacles.codes != nil, options.takesUsualCodec { codec = "none" }
    aggregation = try strategy.aggregation ?? Recipe.look("codec", codec, in: aggregations, besides: [CodecChoice.word])
    minibatchSearch = try options.tuneMinibatch.map { try Recipe.look("tune-minibatch", $0, in: minibatchSearches) }
    if let largest = minibatchSearch?.largest, largest < options.minibatch {
      throw OptionError("--tune-minibatch: max=\(largest) is smaller than --minibatch \(options.minibatch)")
    }
    rateControl = try options.tuneRate.map { try Recipe.look("tune-rate", $0, in: rateControls) }
    if case .bits = options.warmStart, aggregation.codec?.isIdentity == true, options.codec != CodecChoice.word {
      throw OptionError("--warm-start bits:… needs a --codec that encodes, not \(options.codec)")
    }
    if case .bits = options.warmStart, aggregation.codec == nil, aggregation.capabilities.warmStarts {
      throw OptionError(
        "--warm-start bits:… needs a --codec whose bits can change, not \(options.codec); steps of floats go with it")
    }
    try checkOptimizer(options)
    try Recipe.check(self, options)
    try refuseWhatCannotBe(options)
  }

  /// The tokens that a model reads at once; nil if its specification, which is valid, does not say.
  private static func context(of model: String) throws(SpecificationError) -> Int? {
    try Specification(model).options["context"].flatMap { Int($0) }
  }

  /// Rejects options that the strategy cannot be used with.
  private static func check(_ recipe: Recipe, _ options: TrainerOptions) throws(OptionError) {
    let (obstacles, name) = (recipe.strategy.obstacles, "--strategy \(options.strategy.prefix { $0 != ":" })")
    var startsInStep = false
    if case .replicated = options.warmStart { startsInStep = true }
    if case .bits = options.warmStart { startsInStep = true }
    if options.warmStart == .automatic { startsInStep = true }
    let hasClients = options.clients != nil || options.partition != TrainerOptions().partition
    let (codec, warmStart) = ("codec \(options.codec)", "warm-start \(options.texts["warm-start"] ?? "")")
    let refusals: [(isAsked: Bool, option: String, reason: String?)] = [
      (
        recipe.aggregation.codec == nil || recipe.aggregation.capabilities.needsAllContributions, codec,
        obstacles.aggregations
      ),
      (options.codec == CodecChoice.word, codec, obstacles.automaticCodec),
      (recipe.aggregation.codec?.isIdentity == false, codec, obstacles.codes),
      (options.warmStart.map { $0 != .floats(0) } ?? false, warmStart, obstacles.warmStart),
      (options.modelParallel > 1, "model-parallel \(options.modelParallel)", obstacles.slices),
      (
        hasClients, options.clients.map { "clients \($0)" } ?? "partition \(options.partition)", obstacles.clients
      ),
      (options.clip != nil, "clip", obstacles.clip),
      (startsInStep, warmStart, obstacles.startInStep),
      (options.tuneMinibatch != nil, "tune-minibatch", obstacles.tuning),
      (options.tuneRate != nil, "tune-rate", obstacles.tuning),
      (options.shares != .equal, "shares \(options.texts["shares"] ?? "")", obstacles.shares),
      (options.sampled != nil, "sampled", obstacles.sampledClients),
      (recipe.optimizer.needsWholeSums, "optimizer \(options.optimizer)", obstacles.wholeSums),
      ([.thread, .inline].contains(options.overlap), "overlap \(options.overlap)", obstacles.overlap),
    ]
    for case (true, let option, let reason?) in refusals {
      throw OptionError("--\(option) does not go with \(name), \(reason)")
    }
    if let reason = obstacles.orders {
      for (option, isGiven) in [
        ("emulate-speed", options.emulateSpeed != nil && !options.shares.isMeasured), ("record", options.record != nil),
        ("replay", options.replay != nil),
      ] where isGiven {
        let others = strategies.entries.map(\.name).filter {
          if let recipe = try? strategies.make($0) { recipe.obstacles.orders == nil } else { false }
        }
        let ending = recipe.strategy.capabilities.isInStep ? "; those of \(others.joined(separator: ", ")) are not" : ""
        throw OptionError("--\(option) does not go with \(name), \(reason)\(ending)")
      }
    }
    if options.shares != .equal {
      let shares = "--shares \(options.texts["shares"] ?? "")"
      guard !hasClients else {
        throw OptionError("\(shares) does not go with clients, whose samples are their own; leave one of them out")
      }
      guard options.modelParallel == 1 else {
        throw OptionError(
          "\(shares) does not go with --model-parallel \(options.modelParallel), whose ranks wait for one another in each layer"
        )
      }
      guard !recipe.aggregation.capabilities.needsSameSamples else {
        throw OptionError(
          "\(shares) does not go with --codec \(options.codec), whose rule needs the same samples of a rank in each step")
      }
    } else if let reason = obstacles.equalShares {
      throw OptionError("\(name): \(reason)")
    }
    if options.replay != nil, options.emulateSpeed != nil {
      throw OptionError("--replay does not go with --emulate-speed: each names an order; leave one of them out")
    }
  }

  private static func look<Product>(
    _ option: String, _ text: String, in registry: Registry<Product>, besides words: [String] = []
  ) throws -> Product {
    do { return try registry.make(text, besides: words) } catch { throw OptionError("--\(option): \(error)") }
  }

  /// For tests: replaces the strategy, and the aggregation if it names one.
  mutating func replace(_ strategy: StrategyRecipe) {
    self.strategy = strategy
    aggregation = strategy.aggregation ?? aggregation
  }

  /// Makes the strategy.
  ///
  /// Collective.
  ///
  /// Sizes that do not fit the number of parameters are an `OptionError`, on all ranks alike.
  func strategy(for parts: StrategyParts) throws -> any Strategy {
    let option = strategy.aggregation == nil ? "--codec" : "--strategy"
    do { return try strategy(parts) } catch let error as SpecificationError {
      throw OptionError("\(option): \(error)")
    } catch let error as SketchError { throw OptionError("\(option): \(error)") }
  }

  /// Throws if an option requires something that the aggregation's capabilities lack.
  private mutating func refuseWhatCannotBe(_ options: TrainerOptions) throws(OptionError) {
    let (can, defaults) = (aggregation.capabilities, TrainerOptions())
    let option = strategy.aggregation == nil ? "codec" : "strategy"
    let key = can.key.map { ":\($0)" } ?? ""
    let name = "--\(option) \((strategy.aggregation == nil ? options.codec : options.strategy).prefix { $0 != ":" })\(key)"
    func refuse(_ isWrong: Bool, _ option: String, _ reason: String) throws(OptionError) {
      if isWrong { throw OptionError("--\(option) does not go with \(name), \(reason)") }
    }
    let stepsAlone = strategy.capabilities.stepsAlone
    try refuse(
      can.result == .change && !stepsAlone && options.optimizer != defaults.optimizer, "optimizer \(options.optimizer)",
      "whose momentum (--momentum) is part of what it remembers; leave it out")
    try refuse(
      can.needsPlainDescent && optimizer.bufferCount(momentum: options.momentum) > 0,
      optimizer.ownMomentum == nil && options.optimizer == defaults.optimizer
        ? "momentum \(options.momentum)" : "optimizer \(options.optimizer)",
      "whose rule holds for steps of the rate times the sum; --optimizer sgd --momentum 0 makes them")
    try refuse(
      can.needsPlainDescent && options.clip != nil, "clip", "whose rule holds for steps of the rate times the sum; leave it out"
    )
    try refuse(
      can.needsPlainDescent && (strategy.schedule.exchangesInStep > 1 || stepsAlone), "strategy \(options.strategy)",
      "whose rule compares the gradients of whole steps; all-reduce exchanges them")
    try refuse(
      can.needsGradients && stepsAlone, "strategy \(options.strategy)",
      "which takes gradients, and not what steps alone have changed")
    try refuse(
      can.votes && strategy.schedule.exchangesInStep > 1, "strategy \(options.strategy)",
      "whose steps are of one size, however few samples they have")
    try refuse(
      !can.clips && !stepsAlone && options.clip != nil, "clip",
      "which does not know the gradient's norm" + (can.clipsIf.map { ", except \($0)" } ?? ""))
    if let reason = can.votes ? optimizer.obstacles.votes : optimizer.obstacles.sums {
      throw OptionError("--codec \(options.codec) does not go with --optimizer \(options.optimizer): \(reason)")
    }
    if let reason = optimizer.obstacles.sumsWithoutOwners {
      try refuse(!can.transformsAtOwners, "optimizer \(options.optimizer)", reason)
    }
    try refuse(
      !can.warmStarts && options.warmStart.map { $0 != .floats(0) } ?? false, "warm-start",
      "which uses its own code from the first step; leave it out")
    try refuse(!can.hasTrials && options.tuneMinibatch != nil, "tune-minibatch", "whose memory a trial would spoil")
    try refuse(!can.hasTrials && options.tuneRate != nil, "tune-rate", "whose memory a trial would spoil")
    let codec = aggregation.specification.prefix { $0 != ":" } + key
    let unheeded = [
      (
        !can.isHierarchical && options.topology == .hierarchical, "topology hierarchical",
        "in which every rank encodes its own gradient; leave it out"
      ),
      (
        strategy.schedule.hiddenPart == .duringBackward && !can.discards
          && [.thread, .inline].contains(options.overlap), "overlap \(options.overlap)",
        "whose exchange begins when the whole gradient is computed; --strategy double-buffer with --codec \(codec) hides it"
      ),
    ]
    // Short forms are older than capabilities, and accept these options without effect.
    for (isAsked, option, reason) in unheeded where isAsked {
      if strategy.aggregation == nil { try refuse(true, option, reason) }
      notes.append("--\(option) changes nothing with \(name), \(reason)")
    }
  }
}
