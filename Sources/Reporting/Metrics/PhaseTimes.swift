internal import Collectives
internal import Transport

/// Seconds that a rank spent in each phase.
public struct PhaseTimes: Hashable, Sendable {
  /// Computing gradients of the network.
  public var compute = 0.0
  /// Encoding, and summing as an owner.
  public var encode = 0.0
  /// Decoding.
  public var decode = 0.0
  /// Waiting for other ranks.
  public var wait = 0.0
  /// The part of ``wait`` in which ranks agreed on steps.
  public var agreement = 0.0
  /// Updating the parameters.
  public var update = 0.0
  /// Building minibatches.
  public var data = 0.0

  /// No time yet.
  public init() {}

  /// The names of the phases, in the order of the metrics file.
  public static let names = ["compute", "encode", "decode", "wait", "update", "data"]
  /// The seconds, in the order of ``names``.
  public var seconds: [Double] { [compute, encode, decode, wait, update, data] }

  /// Runs `body` and adds its time to `phase`.
  package mutating func measure<Result>(_ phase: WritableKeyPath<PhaseTimes, Double>, _ body: () throws -> Result) rethrows
    -> Result
  {
    let start = Stopwatch()
    defer { self[keyPath: phase] += start.seconds }
    return try body()
  }
}
