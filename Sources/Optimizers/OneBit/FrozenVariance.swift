internal import Buffers
internal import Kernels

/// A variance that is frozen at some step, and the floor of its root, which codes of one bit need: parameters whose gradients were small
/// before would explode without.
///
///     max(√v, f)      f = 0.1 · root of the mean of v
///
/// Source: algorithms §14.2; experiments §7 for the share.
struct FrozenVariance {
  /// The floor of √v, as a share of the root of the mean of v.
  private static let floorShare = 0.1

  /// v.
  let squares: FloatBuffer
  /// f, once it is known.
  private var knownFloor: Float?

  /// A variance of `count` zeros.
  init(count: Int) { squares = FloatBuffer(count: count) }

  /// f, the same on every rank, as v is: found by one pass over v, and kept until `forgetFloor()`.
  var floor: Float {
    mutating get {
      if let knownFloor { return knownFloor }
      var lanes = SIMD8<Double>.zero
      for (i, value) in squares.values.enumerated() { lanes[i & 7] += Double(value) }
      let found = Float(Self.floorShare * (LAMB.sum(lanes) / Double(max(squares.count, 1))).squareRoot())
      knownFloor = found
      return found
    }
  }

  /// To be called where v has changed.
  mutating func forgetFloor() { knownFloor = nil }
}

/// The keys and the obstacles of optimizers whose variance is frozen and whose momentum crosses.
enum FrozenVarianceChoices {
  /// The keys besides that of the freeze, for `train list`.
  static let keys = AdamConstants.keys + [DecayScope.key(default: .matrices)]

  /// What none of them can be used with.
  static let obstacles: OptimizerObstacles = {
    var obstacles = OptimizerObstacles()
    obstacles.slices = "the floor of its variance takes all slices"
    obstacles.replicatedStart = "it exchanges gradients until its variance is frozen; a number of steps goes with it"
    obstacles.automaticStart = "its variance is frozen after a number of steps; give that number"
    obstacles.clip = "what is summed is momentum"
    obstacles.otherStrategies = "a contribution is made with the momentum of the step before"
    obstacles.otherMinibatches = "its frozen variance is that of one minibatch"
    obstacles.tunedRate = "its variance is frozen once, and trials or a return to an earlier state would change it again"
    obstacles.votes = "the sizes of its momentum count, and not signs alone"
    return obstacles
  }()

  /// The transform that makes contributions of momentum.
  static let transforms: OptimizerTransforms = {
    var transforms = OptimizerTransforms()
    transforms.atRank = { parts in
      guard let optimizer = parts.optimizer as? any MomentumOptimizer else {
        fatalError("the momentum is that of another optimizer")
      }
      return MomentumContribution(optimizer, parts)
    }
    return transforms
  }()
}
