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
  /// The key that gives the momentum, so that `--momentum` and `--optimizer` do not; nil if those do.
  public let ownMomentum: String?
  /// The optimizers that a rank has.
  package let optimizerCount: @Sendable (_ rankCount: Int) -> Int
  /// What it keeps in memory besides what every run has: values of four bytes, with a name for people.
  package let memory: @Sendable (_ parameterCount: Int, _ rankCount: Int, _ isCoded: Bool) -> [(name: String, count: Int)]
  private let make: @Sendable (StrategyParts) throws -> any Strategy

  package init(
    schedule: ExchangeSchedule, workerCount: Int? = nil, bound: ClosedRange<Int>? = nil, pushes: PushPattern = PushPattern(),
    capabilities: StrategyCapabilities = StrategyCapabilities(), ownMomentum: String? = nil,
    optimizerCount: @escaping @Sendable (_ rankCount: Int) -> Int = { _ in 1 },
    memory: @escaping @Sendable (_ parameterCount: Int, _ rankCount: Int, _ isCoded: Bool) -> [(name: String, count: Int)] = {
      _, _, _ in []
    },
    make: @escaping @Sendable (StrategyParts) throws -> any Strategy
  ) {
    (self.schedule, self.workerCount, self.bound, self.capabilities) = (schedule, workerCount, bound, capabilities)
    self.pushes = pushes
    (self.ownMomentum, self.optimizerCount) = (ownMomentum, optimizerCount)
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

/// What a strategy can do, as data: requests for anything else are refused by name.
public struct StrategyCapabilities: Hashable, Sendable {
  /// Whether ranks do the same steps together.
  public var isInStep = true
  /// Whether they compute each at the same time, so that they can share the statistics of its batch.
  public var sharesStatistics = false
  /// Whether the whole gradient of a step, or its norm, is known somewhere.
  public var knowsSums = true
  /// Whether any aggregation carries its gradients; otherwise codecs alone do.
  public var takesAggregations = true
  /// Whether owners of shards take what workers push.
  public var hasOwners = false
  /// Whether what ranks send can be encoded; otherwise it is floats.
  public var takesCodes = true
  /// Whether ranks that are not in step do things in an order that can be emulated, recorded and replayed.
  public var hasFreeOrder = false
  /// Whether it can send floats before codes.
  public var warmStarts = true
  /// Whether models in slices can be trained.
  public var splitsModels = true

  /// Everything but shared statistics.
  package init() {}

  /// Those of ranks that do each step at the same time.
  static let synchronous: StrategyCapabilities = {
    var capabilities = StrategyCapabilities()
    capabilities.sharesStatistics = true
    return capabilities
  }()

  /// Those of owners that apply gradients as they come.
  static let asynchronous: StrategyCapabilities = {
    var capabilities = StrategyCapabilities()
    (capabilities.isInStep, capabilities.knowsSums, capabilities.hasOwners) = (false, false, true)
    capabilities.hasFreeOrder = true
    (capabilities.takesAggregations, capabilities.splitsModels) = (false, false)
    return capabilities
  }()

  /// Those of workers that have models of their own and average them as floats.
  static let pairs: StrategyCapabilities = {
    var capabilities = asynchronous
    (capabilities.hasOwners, capabilities.takesCodes) = (false, false)
    return capabilities
  }()
}

/// The strategies of `--strategy`: when ranks exchange what.
///
/// A row each.
///
/// What they make of it, `--codec` says; names of sparse aggregations are short for `all-reduce` with them.
public let strategies = Registry<StrategyRecipe>(
  "strategy",
  [
    .init("all-reduce", "every rank exchanges every step's gradient and makes the same update") { _ in allReduce },
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
  ] + ["fetch-sgd", "sketched-sgd", "true-top-k", "local-top-k"].map(shortForm))

private let allReduce = StrategyRecipe(schedule: Synchronous.schedule, capabilities: .synchronous) { try Synchronous($0) }

private func asynchronous(_ settings: AsynchronySettings, ownMomentum: String? = nil) -> StrategyRecipe {
  StrategyRecipe(
    schedule: .unsynchronized, workerCount: settings.workerCount, bound: settings.bound, pushes: settings.pushes,
    capabilities: .asynchronous,
    ownMomentum: ownMomentum,
    optimizerCount: settings.optimizerCount, memory: settings.memory
  ) { try Asynchronous($0, settings) }
}

private func pairs(_ settings: PairSettings) -> StrategyRecipe {
  StrategyRecipe(
    schedule: .unsynchronized, workerCount: settings.workerCount, capabilities: .pairs,
    optimizerCount: settings.optimizerCount, memory: settings.memory
  ) { try PairDescent($0, settings) }
}

private func gossip(_ settings: GossipSettings) -> StrategyRecipe {
  StrategyRecipe(
    schedule: .unsynchronized, workerCount: settings.workerCount, capabilities: settings.capabilities,
    optimizerCount: settings.optimizerCount, memory: settings.memory
  ) { try GossipDescent($0, settings) }
}

/// `all-reduce` with an aggregation of nearly the same name.
private func shortForm(_ name: String) -> Registry<StrategyRecipe>.Entry {
  let codec = name == "local-top-k" ? "top-k" : name
  guard let entry = aggregations.entries.first(where: { $0.name == codec }) else { fatalError("no codec \(codec)") }
  return .init(name, "short for all-reduce with --codec \(codec): \(entry.summary)", keys: entry.keys) {
    var recipe = allReduce
    recipe.aggregation = try entry.make($0)
    return recipe
  }
}
