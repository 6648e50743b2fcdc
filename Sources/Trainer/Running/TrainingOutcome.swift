internal import Checkpoints

/// The outcome of a run, the same on every rank.
public struct TrainingOutcome: Hashable, Sendable {
  /// The number of steps done.
  public let steps: Int
  /// The last evaluation; nil if the run was stopped before any.
  public let evaluation: Evaluation?
  /// The xxHash64 of the parameters.
  public let modelHash: UInt64
  /// Whether the run ended before its plan because a stop was requested.
  public let wasStopped: Bool

  /// The exit status of a rank: 0, or 75 if the run was stopped and can be resumed.
  public var exitStatus: Int32 { wasStopped ? TrainingError.ExitStatus.peers.rawValue : 0 }
}
