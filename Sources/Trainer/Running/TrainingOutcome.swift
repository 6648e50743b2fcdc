internal import Checkpoints

/// What came out of a run, the same on every rank.
public struct TrainingOutcome: Hashable, Sendable {
  /// The number of steps done.
  public let steps: Int
  /// The last evaluation, nil where the run was stopped before any.
  public let evaluation: Evaluation?
  /// The xxHash64 of the parameters.
  public let modelHash: UInt64
  /// Whether the run ended before its plan because it was asked to.
  public let wasStopped: Bool

  /// What a rank ends with: 0, or 75 where the run was stopped and can be resumed.
  public var exitStatus: Int32 { wasStopped ? TrainingError.ExitStatus.peers.rawValue : 0 }
}

/// The loss over some steps, over all ranks.
struct LossTally {
  private(set) var lossSum = 0.0
  private(set) var sampleCount = 0

  init(lossSum: Double = 0, sampleCount: Int = 0) {
    self.lossSum = lossSum
    self.sampleCount = sampleCount
  }

  /// Adds a step; what was skipped of it taught nothing and counts for nothing.
  mutating func add(_ outcome: StepOutcome) {
    add(lossSum: outcome.learnt.lossSum, sampleCount: outcome.learnt.sampleCount)
  }

  /// Adds the losses of some samples.
  mutating func add(lossSum: Double, sampleCount: Int) {
    self.lossSum += lossSum
    self.sampleCount += sampleCount
  }

  /// The mean loss of a sample, NaN of none.
  var mean: Double { lossSum / Double(sampleCount) }
}
