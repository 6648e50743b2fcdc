internal import Collectives
public import Transport

/// The cost of a run's exchanges on one rank, and what floats would have cost.
public struct ExchangeReport: Sendable {
  /// The full specification of the codec.
  public var codec = ""
  /// Whether gradients were encoded at all: not with one rank, and not with a codec that sends floats.
  public var isCompressed = false
  /// The number of exchanges in the warm start.
  public var warmStartSteps = 0
  /// Their traffic.
  public var warmStartTraffic = Traffic()
  /// The number of exchanges after it.
  public var steps = 0
  /// How exchanges lie in steps, and what part of the model each is of.
  public var shape = Shape()
  /// Whether computation hid part of the exchanges, so that the seconds below are those of the rest.
  public var areHidden = false
  /// The traffic of the exchanges after the warm start.
  public var traffic = Traffic()
  /// The traffic of one exchange after the warm start, by the format alone.
  public var predictedTraffic = Traffic()
  /// That of one exchange after a ramp, in which exchanges become smaller; nil without one.
  public var settledTraffic: Traffic?
  /// Whether ``predictedTraffic`` is an upper bound, because message lengths depend on the data.
  public var predictsAtMost = false
  /// The traffic of one exchange of floats through the same topology, by the format alone.
  public var floatTraffic = Traffic()
  /// The traffic of all ``steps`` exchanges by the format alone, if they are not all alike; nil if they are.
  public var predictedTotal: Traffic?
  /// That of as many exchanges of floats; nil likewise.
  public var floatTotal: Traffic?
  /// The number of groups sent as zeros because their sums were not finite.
  public var nonFiniteGroups = 0
  /// The traffic of records exchanged to agree on steps and compare models.
  public var agreementTraffic = Traffic()
  /// The median seconds of an exchange of floats with its update, on the slowest rank; nil if none was measured.
  public var floatSeconds: Double?
  /// The median seconds of an encoded exchange with its update, on the slowest rank.
  public var codedSeconds: Double?
  /// Why the two could not be measured at the end of the run; nil if nothing prevented it.
  public var comparisonObstacle: String?

  /// The traffic of all ``steps`` exchanges, by the format alone.
  public var predictedInAll: Traffic { predictedTotal ?? predictedTraffic * steps }
  /// The traffic of as many exchanges of floats.
  public var floatsInAll: Traffic { floatTotal ?? floatTraffic * steps }

  /// An empty report.
  public init() {}

  /// How exchanges lie in steps.
  public struct Shape: Sendable {
    /// The number of exchanges in a step.
    public var exchangesInStep = 1
    /// The steps of an exchange, if it is not made in each.
    public var stepsPerExchange = 1
    /// The fragments of the model that are exchanged one after another; what is predicted of one exchange is the sum over them.
    public var fragments = 1
    /// The traffic of the exchange of the largest of several fragments, by the format alone; nil without fragments.
    public var largestTraffic: Traffic?

    /// An exchange of the whole model in each step.
    public init() {}
  }
}
