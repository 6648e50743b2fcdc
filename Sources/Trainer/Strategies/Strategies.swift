public import Buffers
public import Collectives

/// A chosen strategy, before model and ranks are known.
public struct StrategyRecipe: Sendable {
  /// The aggregation that a short form names itself; nil if `--codec` does.
  public var aggregation: AggregationRecipe?
  /// The exchanges of a step, each of a part of its minibatch.
  public let exchangesInStep: Int
  /// Whether an exchange goes on while the next part is computed, so that two gradients are held at a time.
  public let isDelayed: Bool
  /// Whether the ranks compute each step at the same time, so that they can share the statistics of its batch.
  public let keepsRanksInStep: Bool
  private let make: @Sendable (StrategyParts) throws -> any Strategy

  init(
    exchangesInStep: Int = 1, isDelayed: Bool = false, keepsRanksInStep: Bool = false,
    make: @escaping @Sendable (StrategyParts) throws -> any Strategy
  ) {
    (self.exchangesInStep, self.isDelayed, self.keepsRanksInStep) = (exchangesInStep, isDelayed, keepsRanksInStep)
    self.make = make
  }

  /// Makes the strategy; collective.
  package func callAsFunction(_ parts: StrategyParts) throws -> any Strategy { try make(parts) }
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
      StrategyRecipe(exchangesInStep: 2, isDelayed: true) { try Delayed($0) }
    },
  ] + ["fetch-sgd", "sketched-sgd", "true-top-k", "local-top-k"].map(shortForm))

private let allReduce = StrategyRecipe(keepsRanksInStep: true) { try Synchronous($0) }

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
