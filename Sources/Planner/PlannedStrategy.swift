internal import Buffers
public import Strategies

/// A strategy as plans know it, under the name that a user gives it.
public struct PlannedStrategy: Hashable, Sendable {
  /// Its specification.
  public let specification: String
  /// When it exchanges, and what computing hides of it.
  public let schedule: ExchangeSchedule
  /// What it can do.
  public let capabilities: StrategyCapabilities
  /// Why no plan can be made of it; nil if one can.
  public let obstacle: String?

  /// An exchange of each step's gradient.
  public static let allReduce = PlannedStrategy("all-reduce", .synchronous, .synchronous)
  /// An exchange of each half of a minibatch while the next is computed.
  public static let doubleBuffer = PlannedStrategy("double-buffer", .halves, StrategyCapabilities())
  /// Those that every plan compares.
  static let compared = [allReduce, doubleBuffer]

  private init(
    _ specification: String, _ schedule: ExchangeSchedule, _ capabilities: StrategyCapabilities, obstacle: String? = nil
  ) {
    (self.specification, self.schedule, self.capabilities) = (specification, schedule, capabilities)
    self.obstacle = obstacle
  }

  /// The strategy with this specification.
  ///
  /// - Throws: The fault of the specification.
  public init(_ specification: String) throws {
    let recipe = try strategies.make(specification)
    self.init(specification, recipe.schedule, recipe.capabilities, obstacle: recipe.obstacles.plan)
  }

  /// Whether part of a minibatch is computed while another part is exchanged.
  public var isDoubleBuffered: Bool { schedule.hidesWholeExchanges }
}
