/// What a strategy cannot be used with, each with the reason as the end of a sentence; nil if it can.
public struct StrategyObstacles: Hashable, Sendable {
  /// An aggregation that needs the contributions of all ranks at a time.
  public var aggregations: String?
  /// The choice of a codec by measurements.
  public var automaticCodec: String?
  /// A codec that encodes.
  public var codes: String?
  /// Floats before codes.
  public var warmStart: String?
  /// A model sliced over several ranks.
  public var slices: String?
  /// Clients, whom ranks train one after another.
  public var clients: String?
  /// A limit for the norm of a sum.
  public var clip: String?
  /// A start that ranks take in step, and that is not a number of steps.
  public var startInStep: String?
  /// A minibatch or a rate that is tuned.
  public var tuning: String?
  /// Shares of samples that differ between ranks.
  public var shares: String?
  /// The same share of the samples for each rank.
  public var equalShares: String?
  /// Clients of which a part is sampled.
  public var sampledClients: String?
  /// An optimizer that needs whole sums.
  public var wholeSums: String?
  /// Computing during an exchange.
  public var overlap: String?
  /// An emulated, a recorded and a replayed order.
  public var orders: String?
  /// A prediction of its pace.
  public var plan: String?

  /// No obstacles but that there is no order to choose.
  package init() { orders = "whose ranks are in step" }
}

extension StrategyObstacles {
  /// Those of ranks that are not in step.
  private init(aggregations: String) {
    self.aggregations = aggregations
    automaticCodec = "whose exchanges cannot be timed beforehand"
    slices = "whose ranks hold whole models"
    clip = "in which no rank knows the norm of a sum"
    startInStep = "whose ranks are not in step; a number of steps is"
    tuning = "whose ranks are not in step"
    shares = "whose workers are not in step; those of the others are"
    sampledClients = "whose workers all take samples of their own clients"
    wholeSums = "in which no rank has whole sums"
    overlap = "whose workers compute while messages are on their way without it; leave it out"
  }

  /// Those of owners that apply what comes.
  static let asynchronous = StrategyObstacles(aggregations: "whose owners take one rank's codes at a time")

  /// Those of workers that have models of their own and average them as floats.
  static let pairs: StrategyObstacles = {
    var obstacles = StrategyObstacles(aggregations: "whose workers decode the codes of one other at a time")
    obstacles.codes = "whose workers send whole models to whom they have sent nothing before; none does"
    obstacles.warmStart = "which sends floats from the first step; leave it out"
    return obstacles
  }()
}
