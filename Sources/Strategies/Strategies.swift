public import Buffers
public import Collectives

/// A chosen strategy, before model and ranks are known.
public struct StrategyRecipe: Sendable {
  /// The aggregation that a short form names itself; nil if `--codec` does.
  public var aggregation: AggregationRecipe?
  /// When it exchanges, and what computing hides of it.
  public let schedule: ExchangeSchedule
  /// The number of workers that take minibatches; nil for as many as ranks.
  public let workerCount: Int?
  /// The pushes that a worker may be ahead of the slowest, of strategies whose ranks are not in step; nil for any number.
  public let bound: ClosedRange<Int>?
  /// How often a worker pushes and pulls, of strategies with owners.
  public let pushes: PushPattern
  /// What it can do, as data.
  public let capabilities: StrategyCapabilities
  /// What it cannot be used with.
  public let obstacles: StrategyObstacles
  /// The steps of floats at first, if the strategy says so and `--warm-start` does not; for codes, and for floats, which need none.
  package let warmStartSteps: @Sendable (_ isCoded: Bool) -> Int?
  /// The key that gives the momentum, so that `--momentum` and `--optimizer` do not; nil if those do.
  public let ownMomentum: String?
  /// The optimizers that a rank has.
  package let optimizerCount: @Sendable (_ rankCount: Int) -> Int
  /// What it keeps in memory besides what every run has: values of four bytes, with a name for people.
  package let memory: @Sendable (_ parameterCount: Int, _ rankCount: Int, _ isCoded: Bool) -> [(name: String, count: Int)]
  private let make: @Sendable (StrategyParts) throws -> any Strategy

  package init(
    schedule: ExchangeSchedule, workerCount: Int? = nil, bound: ClosedRange<Int>? = nil, pushes: PushPattern = PushPattern(),
    capabilities: StrategyCapabilities = StrategyCapabilities(), obstacles: StrategyObstacles = StrategyObstacles(),
    ownMomentum: String? = nil,
    warmStartSteps: @escaping @Sendable (_ isCoded: Bool) -> Int? = { _ in nil },
    optimizerCount: @escaping @Sendable (_ rankCount: Int) -> Int = { _ in 1 },
    memory: @escaping @Sendable (_ parameterCount: Int, _ rankCount: Int, _ isCoded: Bool) -> [(name: String, count: Int)] = {
      _, _, _ in []
    },
    make: @escaping @Sendable (StrategyParts) throws -> any Strategy
  ) {
    (self.schedule, self.workerCount, self.bound, self.capabilities) = (schedule, workerCount, bound, capabilities)
    (self.pushes, self.obstacles) = (pushes, obstacles)
    (self.ownMomentum, self.optimizerCount, self.warmStartSteps) = (ownMomentum, optimizerCount, warmStartSteps)
    (self.memory, self.make) = (memory, make)
  }

  /// Makes the strategy; collective.
  package func callAsFunction(_ parts: StrategyParts) throws -> any Strategy { try make(parts) }
}

/// How often a worker pushes what it has computed, and pulls, as data.
public struct PushPattern: Hashable, Sendable {
  /// The minibatches whose gradients, or steps, are one push.
  public var minibatchesPerPush = 1
  /// The pushes after which a worker pulls.
  public var pushesPerPull = 1
  /// Whether a worker computes while its push and its pull are under way.
  public var isPipelined = false

  /// A push and a pull after each minibatch.
  public init() {}
}

/// What a strategy does, as data.
public struct StrategyCapabilities: Hashable, Sendable {
  /// Whether ranks do the same steps together.
  public var isInStep = true
  /// Whether they compute each at the same time, so that they can share the statistics of its batch.
  public var sharesStatistics = false
  /// Whether owners of shards take what workers push.
  public var hasOwners = false
  /// Whether ranks take steps of `--optimizer` alone, each with its own gradient, and an aggregation carries what these have changed.
  public var stepsAlone = false
  /// Whether a rank with a smaller share of the samples takes fewer steps alone, and not fewer samples in each.
  public var pacesByShares = false

  package init(
    isInStep: Bool = true, sharesStatistics: Bool = false, hasOwners: Bool = false, stepsAlone: Bool = false,
    pacesByShares: Bool = false
  ) {
    (self.isInStep, self.sharesStatistics, self.hasOwners) = (isInStep, sharesStatistics, hasOwners)
    (self.stepsAlone, self.pacesByShares) = (stepsAlone, pacesByShares)
  }

  /// Those of ranks that do each step at the same time.
  package static let synchronous = StrategyCapabilities(sharesStatistics: true)
}

/// The strategies of `--strategy`, one row each: when ranks exchange what.
///
/// How contributions are combined is up to `--codec`; names of sparse aggregations are short for `all-reduce` with them.
public let strategies = Registry<StrategyRecipe>(
  "strategy",
  [
    .init("all-reduce", "every rank exchanges every step's gradient and makes the same update") { _ in .allReduce },
    .init("double-buffer", "half a minibatch is computed while the gradient of the half before is exchanged") { _ in
      StrategyRecipe(schedule: Delayed.schedule) { try Delayed($0) }
    },
    .init(
      "asgd", "each rank's gradient is applied by the owners of shards when it comes, without waiting for others",
      keys: AsynchronySettings.gradientKeys + AsynchronySettings.downpourKeys
    ) { asynchronous(try AsynchronySettings(gradientsOf: $0)) },
    .init(
      "dc-asgd", "asgd with the delay of a gradient compensated to first order (Zheng et al. 2017)",
      keys: AsynchronySettings.compensationKeys + AsynchronySettings.gradientKeys
    ) { asynchronous(try AsynchronySettings(gradientsOf: $0, isCompensated: true)) },
    .init(
      "ssp", "asgd in which a rank that is bound=3 pushes ahead of the slowest waits for it (Ho et al. 2013)",
      keys: AsynchronySettings.gradientKeys + AsynchronySettings.downpourKeys
    ) { asynchronous(try AsynchronySettings(gradientsOf: $0, boundByDefault: 3)) },
    .init(
      "easgd", "each rank trains a model of its own, elastically bound to a centre that is the result (Zhang et al. 2015)",
      keys: AsynchronySettings.elasticKeys
    ) { asynchronous(try AsynchronySettings(elasticOf: $0, hasDelta: false)) },
    .init(
      "eamsgd", "easgd with Nesterov's momentum at the ranks",
      keys: [AsynchronySettings.deltaKey] + AsynchronySettings.elasticKeys
    ) { asynchronous(try AsynchronySettings(elasticOf: $0, hasDelta: true), ownMomentum: "delta") },
    .init(
      "async-local", "what 50 steps of a rank's own have changed is applied by the owners when it comes (Liu et al. 2024)",
      keys: AsynchronySettings.localStepsKeys
    ) { asynchronous(try AsynchronySettings(localStepsOf: $0)) },
    .init(
      "ad-psgd",
      "each rank trains a model of its own and averages it with one neighbour's at a time, without waiting for others (Lian et al. 2018)",
      keys: PairSettings.keys
    ) { pairs(try PairSettings($0)) },
    .init(
      "gossip",
      "each rank trains a model of its own and mixes it with its neighbours' in every step (Lian et al. 2017), as codes "
        + "(Koloskova et al. 2019), by pushes (Assran et al. 2019), or after many steps (NoLoCo)",
      keys: GossipSettings.keys
    ) { gossip(try GossipSettings($0)) },
  ] + localSteps + [sparseLocal] + ["fetch-sgd", "sketched-sgd", "true-top-k", "local-top-k"].map(shortForm))

/// `local` and its short names, which differ in what their keys are if they are not given.
private let localSteps: [Registry<StrategyRecipe>.Entry] = [
  rounds(
    "local", "each rank takes 30 steps alone, and all follow the mean of what these have changed (owner form of DiLoCo)",
    LocalStepsSettings.Preset()),
  rounds(
    "local-sgd", "local with models averaged every 16 steps: no outer momentum (Stich 2019)",
    LocalStepsSettings.Preset(steps: 16, style: OuterRule.Style.none, rate: 1, momentum: 0)),
  rounds(
    "fed-avg",
    "local-sgd of clients: in each round some begin at the model and take 20 steps of their own (McMahan et al. 2017)",
    LocalStepsSettings.Preset(steps: 20, style: OuterRule.Style.none, rate: 1, momentum: 0)),
  rounds(
    "fed-prox", "fed-avg in which clients are held at the model where they began (Li et al. 2020)",
    LocalStepsSettings.Preset(steps: 20, style: OuterRule.Style.none, rate: 1, momentum: 0, proximal: 0.01)),
  rounds(
    "block-momentum", "local-sgd with block momentum 1 − 1/K and Nesterov's look-ahead (Chen & Huo 2016)",
    LocalStepsSettings.Preset(steps: 16, style: .nesterov, rate: 1, inner: .reset, isBlockMomentum: true)),
  rounds(
    "diloco", "local with the published settings: 500 steps, outer rate 0.7, outer momentum 0.9 (Douillard et al. 2023)",
    LocalStepsSettings.Preset(steps: 500, style: .nesterov, rate: 0.7, momentum: 0.9)),
]

private func rounds(
  _ name: String, _ summary: String, _ preset: LocalStepsSettings.Preset
) -> Registry<StrategyRecipe>.Entry {
  .init(name, summary, keys: LocalStepsSettings.keys(preset)) { rounds(try LocalStepsSettings($0, preset)) }
}

private func rounds(_ settings: LocalStepsSettings) -> StrategyRecipe {
  StrategyRecipe(
    schedule: settings.schedule,
    capabilities: StrategyCapabilities(stepsAlone: true, pacesByShares: settings.pacesByTime), obstacles: settings.obstacles,
    warmStartSteps: settings.warmStartSteps, memory: settings.memory
  ) { try LocalSteps($0, settings) }
}

/// `local` in which the largest changes cross: a residual that fades is all the momentum there is.
///
/// Source: Sarfi et al. 2025 (SparseLoCo); frontier F1.6.
private let sparseLocal: Registry<StrategyRecipe>.Entry = {
  let preset = LocalStepsSettings.Preset(style: OuterRule.Style.none, rate: 1, momentum: 0)
  guard let codec = aggregations.entries.first(where: { $0.name == "chunk-top-k" }) else { fatalError("no chunk-top-k") }
  let codecKeys = codec.keys.map { key in
    key.name == "decay" ? (name: key.name, meaning: key.meaning.replacing("(1)", with: "(0.95)")) : key
  }
  return .init(
    "sparse-loco", "local with the largest changes of each chunk of values, as signs and a magnitude (Sarfi et al. 2025)",
    keys: LocalStepsSettings.keys(preset) + codecKeys
  ) { specification in
    var settings = try LocalStepsSettings(specification, preset)
    settings.warmStart = settings.warmStart ?? 0
    var options = specification.options.filter { key, _ in codecKeys.contains { $0.name == key } }
    options["decay"] = options["decay"] ?? "0.95"
    let text = options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    var recipe = rounds(settings)
    recipe.aggregation = try codec.make(try Specification("chunk-top-k:\(text)"))
    return recipe
  }
}()

extension StrategyRecipe {
  /// `all-reduce`.
  package static let allReduce = StrategyRecipe(schedule: Synchronous.schedule, capabilities: .synchronous) {
    try Synchronous($0)
  }
}

private func asynchronous(_ settings: AsynchronySettings, ownMomentum: String? = nil) -> StrategyRecipe {
  StrategyRecipe(
    schedule: .unsynchronized, workerCount: settings.workerCount, bound: settings.bound, pushes: settings.pushes,
    capabilities: StrategyCapabilities(isInStep: false, hasOwners: true), obstacles: .asynchronous, ownMomentum: ownMomentum,
    optimizerCount: settings.optimizerCount, memory: settings.memory
  ) { try Asynchronous($0, settings) }
}

private func pairs(_ settings: PairSettings) -> StrategyRecipe {
  StrategyRecipe(
    schedule: .unsynchronized, workerCount: settings.workerCount,
    capabilities: StrategyCapabilities(isInStep: false), obstacles: .pairs,
    optimizerCount: settings.optimizerCount, memory: settings.memory
  ) { try PairDescent($0, settings) }
}

private func gossip(_ settings: GossipSettings) -> StrategyRecipe {
  StrategyRecipe(
    schedule: .unsynchronized, workerCount: settings.workerCount,
    capabilities: StrategyCapabilities(isInStep: false), obstacles: settings.obstacles,
    optimizerCount: settings.optimizerCount, memory: settings.memory
  ) { try GossipDescent($0, settings) }
}

/// `all-reduce` with an aggregation of nearly the same name.
private func shortForm(_ name: String) -> Registry<StrategyRecipe>.Entry {
  let codec = name == "local-top-k" ? "top-k" : name
  guard let entry = aggregations.entries.first(where: { $0.name == codec }) else { fatalError("no codec \(codec)") }
  return .init(name, "short for all-reduce with --codec \(codec): \(entry.summary)", keys: entry.keys) {
    var recipe = StrategyRecipe.allReduce
    recipe.aggregation = try entry.make($0)
    return recipe
  }
}
