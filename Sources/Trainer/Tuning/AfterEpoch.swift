/// Changes the learning rate after epochs by how much the criterion improved.
///
/// If the criterion got worse or is not finite, the run goes back to the state it was compared with and continues with the next
/// samples. If it improved by at most the share θ, the rate falls; if by more than θ′, it rises. With ``continues``, a rate
/// that has fallen once falls every time, and the second insufficient improvement ends the run.
/// Source: CNTK's `AdjustAfterEpoch`; algorithms §1.9. A criterion that is not finite is never compared with.
public struct AfterEpoch: Hashable, Sendable {
  /// The samples whose mean loss is the criterion.
  public enum Samples: String, CaseIterable, Sendable {
    /// The training samples, as they were trained on.
    case train
    /// The test samples, which are then no longer unseen.
    case test
  }

  /// Epochs between decisions.
  public var interval = 1
  public var samples = Samples.train
  /// θ, the share by which the criterion must fall for the rate to stay.
  public var leastImprovement = 0.0
  /// θ′, the share by which the criterion must fall for the rate to rise.
  public var largeImprovement = Double.infinity
  /// The factor by which the rate falls.
  public var reduction = 0.618
  /// The factor by which the rate rises.
  public var increase = 1.382
  /// Whether the rate, once it has fallen, keeps falling, and the second failure ends the run.
  public var continues = false
  /// Whether a worse criterion restores the previous state.
  public var loadsBest = true

  /// The default control.
  public init() {}

  /// The state kept between decisions.
  public struct Memory: Hashable, Sendable {
    /// The criterion to compare with.
    public var previous: Double?
    /// Whether the rate has fallen.
    public var hasReduced = false

    /// An empty memory.
    public init() {}
  }

  /// The consequences of a criterion.
  public struct Decision: Hashable, Sendable {
    /// The factor for the rate.
    public var factor = 1.0
    /// Whether the state that was compared with is restored.
    public var goesBack = false
    /// Whether the run ends.
    public var ends = false

    /// A decision to go on as before.
    public init() {}
  }

  /// Decides from the mean criterion since the last decision.
  public func decide(_ criterion: Double, _ memory: inout Memory) -> Decision {
    var decision = Decision()
    var (isWorse, isLittle, isMuch) = (!criterion.isFinite, !criterion.isFinite, false)
    if let previous = memory.previous, criterion.isFinite {
      isWorse = criterion > previous
      isLittle = previous - criterion <= leastImprovement * previous
      isMuch = previous - criterion > largeImprovement * previous
    }
    decision.goesBack = isWorse && loadsBest
    if continues {
      decision.ends = isLittle && memory.hasReduced
      if isLittle { memory.hasReduced = true }
      if memory.hasReduced && !decision.ends { decision.factor = reduction }
    } else if isLittle {
      decision.factor = reduction
    } else if isMuch {
      decision.factor = increase
    }
    if !decision.goesBack && criterion.isFinite { memory.previous = criterion }
    return decision
  }
}
