public import Collectives
internal import Transport

/// When a strategy exchanges, as data: how many gradients it holds at a time, and what of an exchange computing hides.
///
/// Strategies, the planner, the memory that a run needs, and `bench step` all read it here.
public struct ExchangeSchedule: Hashable, Sendable {
  /// The part of an exchange that goes on while the model computes.
  public enum HiddenPart: Hashable, Sendable {
    /// None that a step of the same rank waits for.
    case none
    /// What can be done before the gradient is complete: tensors are sent as they become final, and only an exchange that can be
    /// discarded begins before all ranks have agreed on the step.
    case duringBackward
    /// All of it: the next gradient is computed meanwhile.
    case duringNextGradient
    /// All of it, as far as ``delay`` steps take as long.
    case duringNextSteps
  }

  /// The exchanges of a step, each of a part of its minibatch.
  public let exchangesInStep: Int
  /// The steps that a rank takes alone before it exchanges what they have changed; 1 if it exchanges each step.
  public let stepsPerExchange: Int
  /// The parts of the model, of which one is exchanged at a time, in turn: each after `stepsPerExchange` steps.
  public let fragments: Int
  /// The steps that a rank takes while an exchange is in flight, before it applies the result; 0 if it waits.
  public let delay: Int
  /// The gradients that a rank holds at a time: the one that is computed, and those in flight meanwhile.
  public let gradientCount: Int
  /// What computing hides.
  public let hiddenPart: HiddenPart

  /// An exchange of each step's gradient, part of it during the backward pass.
  public static let synchronous = ExchangeSchedule(hiddenPart: .duringBackward)
  /// An exchange of each half of a minibatch, while the next half is computed.
  public static let halves = ExchangeSchedule(exchangesInStep: 2, gradientCount: 2, hiddenPart: .duringNextGradient)
  /// Nothing in step with other ranks: a worker waits for the owners' answers, not for an exchange.
  public static let unsynchronized = ExchangeSchedule()

  /// A schedule; without arguments one exchange in a step, which nothing hides.
  public init(
    exchangesInStep: Int = 1, stepsPerExchange: Int = 1, fragments: Int = 1, delay: Int = 0, gradientCount: Int = 1,
    hiddenPart: HiddenPart = .none
  ) {
    (self.fragments, self.delay) = (fragments, delay)
    (self.exchangesInStep, self.stepsPerExchange) = (exchangesInStep, stepsPerExchange)
    (self.gradientCount, self.hiddenPart) = (gradientCount, hiddenPart)
  }

  /// Whether the next gradient is computed while a whole exchange goes on.
  public var hidesWholeExchanges: Bool { hiddenPart == .duringNextGradient }

  /// Whether an exchange of `aggregation` goes on while the model computes.
  public func overlaps(_ aggregation: AggregationRecipe) -> Bool {
    switch hiddenPart {
    case .none: false
    case .duringBackward: aggregation.capabilities.discards
    case .duringNextGradient, .duringNextSteps: true
    }
  }

  /// What advances the exchanges of a run with these parts while its model computes.
  package func overlap(for parts: StrategyParts) -> Overlap {
    guard overlaps(parts.aggregation) else { return .off }
    return parts.options.overlap.resolved(for: parts.hosts, among: parts.grid.all, threads: parts.options.threads)
  }
}
