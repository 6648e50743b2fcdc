internal import Collectives
public import Transport

/// What the exchanges of a run cost one rank, and what floats would have cost.
public struct ExchangeReport: Sendable {
  /// The codec, as people write it.
  public var codec = ""
  /// Whether gradients were encoded at all: not with one rank, and not by a codec that sends floats.
  public var isCompressed = false
  /// Exchanges of the warm start, and what they sent.
  public var warmStartSteps = 0
  public var warmStartTraffic = Traffic()
  /// Exchanges after it, what they sent, and what the format says they must have sent.
  public var steps = 0
  /// How many exchanges make a step.
  public var exchangesInStep = 1
  /// Whether computing hid a part of them, so that the seconds below are those of the rest.
  public var areHidden = false
  public var traffic = Traffic()
  /// The traffic of one exchange after the warm start, by the format alone.
  public var predictedTraffic = Traffic()
  /// Whether ``predictedTraffic`` is the most that there can be, because messages are as long as what was found.
  public var predictsAtMost = false
  /// The traffic of one exchange of floats through the same topology, by the format alone.
  public var floatTraffic = Traffic()
  /// Groups sent as zeros because their sums were not finite.
  public var nonFiniteGroups = 0
  /// Records exchanged to agree on steps and compare models.
  public var agreementTraffic = Traffic()
  /// The median seconds of an exchange of floats with its update, on the slowest rank; nil where none was measured.
  public var floatSeconds: Double?
  /// The median seconds of an encoded exchange with its update, on the slowest rank.
  public var codedSeconds: Double?
  /// Why the two could not be measured at the end of the run; nil where nothing was in the way.
  public var comparisonObstacle: String?

  /// Nothing yet.
  public init() {}
}
