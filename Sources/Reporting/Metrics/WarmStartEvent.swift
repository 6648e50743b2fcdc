public import Files

/// The end of an automatic warm start.
public struct WarmStartEvent: MetricsEvent {
  /// The number of steps done; the next one is the first with the codec.
  public var step: Int
  /// The share of signal in the last gradients; nil if it could not be measured.
  public var signalShare: Double?
  /// The reason, in one sentence.
  public var reason: String
  /// Wall time since the start.
  public var seconds: Double

  /// The end of an automatic warm start.
  public init(step: Int, signalShare: Double?, reason: String, seconds: Double) {
    self.step = step
    self.signalShare = signalShare
    self.reason = reason
    self.seconds = seconds
  }

  public var json: JSONValue {
    [
      "event": "warmStart", "step": .integer(step), "signalShare": .number(signalShare), "reason": .string(reason),
      "seconds": .number(seconds),
    ]
  }
}
