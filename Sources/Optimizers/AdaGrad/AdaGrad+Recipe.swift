internal import Buffers

extension AdaGrad {
  /// `adagrad`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "adagrad", "Each value divided by the root of the sum of its squares, then descent as by sgd (Duchi et al. 2011).",
    keys: keys + MomentumStyle.keys + [DecayScope.key(default: .all)]
  ) { specification in
    let (rule, style) = (try AdaGrad(specification), try MomentumStyle(specification))
    let scope = try DecayScope(specification, default: .all)
    guard rule.place == .momentum else {
      return OptimizerRecipe(
        ownMomentum: style.source, remembersDirection: style.remembersDirection, obstacles: rule.obstacles,
        transforms: rule.transforms,
        bufferCount: { style.bufferCount(momentum: $0) + (rule.place == .partial ? 2 : 1) }
      ) { StochasticGradientDescent($0, style: style, scope: scope) }
    }
    for key in ["gain", "nesterov"] where specification.options[key] != nil {
      throw SpecificationError("'\(specification)': \(key) does not go with place=momentum, which smooths with unit gain")
    }
    return OptimizerRecipe(
      ownMomentum: style.source, remembersDirection: style.remembersDirection, obstacles: rule.obstacles,
      bufferCount: { _ in 3 }
    ) {
      SmoothedAdaGrad($0, rule: rule, style: style, scope: scope)
    }
  }

  private var transforms: OptimizerTransforms {
    var transforms = OptimizerTransforms()
    switch place {
    case .aggregate: transforms.atOwner = { AggregateScaling(self, $0.layout) }
    case .partial: transforms.atRank = { ContributionScaling(self, $0.layout) }
    case .momentum: break
    }
    return transforms
  }

  private var obstacles: OptimizerObstacles {
    var obstacles = OptimizerObstacles()
    if place != .aggregate {
      obstacles.slices =
        "the mean multiplier of a tensor takes all its slices, and only the owners of place=aggregate add them up"
    }
    if place != .momentum {
      obstacles.replicatedStart =
        "what owners or ranks remember begins with the first exchange; place=momentum goes with it"
    }
    if place == .aggregate {
      obstacles.automaticStart = "the sum is scaled, and cannot be compared with its parts; give a number of steps"
      obstacles.sumsWithoutOwners = "which has no owners of whole sums; place=partial or place=momentum does"
    }
    return obstacles
  }
}
