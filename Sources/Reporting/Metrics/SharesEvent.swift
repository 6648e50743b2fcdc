public import Files

/// A change of how the ranks share the samples of a step.
public struct SharesEvent: MetricsEvent {
  /// The number of steps done; the next one is the first with these shares.
  public var step: Int
  /// The samples of each rank in a step.
  public var shares: [Int]
  /// The option that gives all shares of the run so far, with which another run repeats it.
  public var option: String
  /// Wall time since the start.
  public var seconds: Double

  /// A change of shares.
  public init(step: Int, shares: [Int], option: String, seconds: Double) {
    (self.step, self.shares, self.option, self.seconds) = (step, shares, option, seconds)
  }

  public var json: JSONValue {
    [
      "event": "shares", "step": .integer(step), "shares": .integers(shares), "option": .string(option),
      "seconds": .number(seconds),
    ]
  }
}
