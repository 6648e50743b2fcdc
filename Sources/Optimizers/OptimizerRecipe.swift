public import Buffers

/// An optimizer chosen before the model is known.
public struct OptimizerRecipe: Sendable {
  /// The rate of a run that names none.
  public var learningRate: Double
  /// What gives its momentum, for example its `time constant`; nil if the settings do.
  public var ownMomentum: String?
  /// The steps at the start whose gradients are exchanged as floats; nil if it is the same to it.
  public var floatSteps: Int?
  /// The aggregation of a run that names none; nil for that of other runs.
  public var codec: String?
  /// Whether its steps follow the direction of earlier gradients, by the momentum of the settings.
  package var remembersDirection: @Sendable (_ momentum: Double) -> Bool
  /// What it cannot be used with.
  public var obstacles: OptimizerObstacles
  /// The transforms of gradients that belong to it, before they reach it.
  package var transforms: OptimizerTransforms
  private let buffers: @Sendable (_ momentum: Double) -> Int
  private let make: @Sendable (OptimizerSettings) -> any Optimizer

  /// Creates a recipe that `make` carries out.
  ///
  /// - Parameters:
  ///   - learningRate: The rate of a run that names none.
  ///   - ownMomentum: What gives its momentum; nil if the settings do.
  ///   - floatSteps: The steps at the start whose gradients are exchanged as floats.
  ///   - codec: The aggregation of a run that names none.
  ///   - remembersDirection: Whether its steps follow the direction of earlier gradients.
  ///   - obstacles: What it cannot be used with.
  ///   - transforms: The transforms of gradients that belong to it.
  ///   - bufferCount: The buffers of ``bufferCount(momentum:)``.
  ///   - make: Makes the optimizer.
  init(
    learningRate: Double = 0.1, ownMomentum: String? = nil, floatSteps: Int? = nil,
    codec: String? = nil, remembersDirection: @escaping @Sendable (_ momentum: Double) -> Bool = { _ in true },
    obstacles: OptimizerObstacles = OptimizerObstacles(),
    transforms: OptimizerTransforms = OptimizerTransforms(),
    bufferCount: @escaping @Sendable (_ momentum: Double) -> Int,
    make: @escaping @Sendable (OptimizerSettings) -> any Optimizer
  ) {
    (self.learningRate, self.ownMomentum, self.obstacles, self.transforms) = (learningRate, ownMomentum, obstacles, transforms)
    self.remembersDirection = remembersDirection
    (self.floatSteps, self.codec, buffers, self.make) = (floatSteps, codec, bufferCount, make)
  }

  /// Makes the optimizer.
  public func callAsFunction(_ settings: OptimizerSettings) -> any Optimizer { make(settings) }

  /// Whether it needs the sum of all ranks' gradients, or whole tensors of it, and not a shard of one rank's.
  package var needsWholeSums: Bool {
    obstacles.slices != nil || transforms.atRank != nil || transforms.atOwner != nil || transforms.atUpdate != nil
  }

  /// The number of floats per parameter that the optimizer and its transforms keep on every rank.
  ///
  /// What the ranks hold in parts is not counted.
  public func bufferCount(momentum: Double) -> Int { buffers(momentum) }
}

/// What an optimizer cannot be used with, each with the reason as the end of a sentence; nil if it can.
public struct OptimizerObstacles: Sendable {
  /// A model sliced over several ranks.
  public var slices: String?
  /// A start in which no gradient is exchanged.
  public var replicatedStart: String?
  /// A start that compares the sum of the gradients with its parts.
  public var automaticStart: String?
  /// An aggregation whose sums have no owners.
  public var sumsWithoutOwners: String?
  /// An aggregation that delivers sums.
  public var sums: String?
  /// An aggregation that delivers votes on signs.
  public var votes: String?
  /// A limit for the norm of a sum.
  public var clip: String?
  /// A strategy in which a gradient is not computed after the step before it.
  public var otherStrategies: String?
  /// Minibatches that change during the run.
  public var otherMinibatches: String?
  /// A rate that depends on how the loss falls.
  public var tunedRate: String?

  /// No obstacles.
  public init() {}
}

/// The transforms of gradients that an optimizer brings, by where they apply; nil for none.
package struct OptimizerTransforms: Sendable {
  /// Makes the transform of a rank's contributions.
  package var atRank: (@Sendable (TransformParts) -> any RankTransform)?
  /// Makes the transform of the owners' sums.
  package var atOwner: (@Sendable (TransformParts) -> any OwnerTransform)?
  /// Makes the transform of aggregated gradients.
  package var atUpdate: (@Sendable (TransformParts) -> any UpdateTransform)?

  /// No transforms.
  package init() {}
}

/// The optimizers of `--optimizer`.
public let optimizers = Registry<OptimizerRecipe>(
  "optimizer",
  [
    StochasticGradientDescent.entry, AdaGrad.entry, Adam.entry, Adam.decoupledEntry, LAMB.entry, Lion.entry,
    VotedMomentum.signumEntry, VotedMomentum.lionEntry, OneBitAdam.entry, ZeroOneAdam.entry, OneBitLAMB.entry,
  ])
