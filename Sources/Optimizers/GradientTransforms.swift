package import Buffers
package import Collectives

/// The run settings from which transforms are made.
package struct TransformParts {
  /// The tensors of this rank's slice of the model.
  package var layout: TensorLayout
  /// What is delivered: a gradient for an optimizer, or a change of the model.
  package var result: AggregationResult
  /// The number of ranks whose contributions are summed.
  package var shareCount: Int
  /// λ of the weight decay.
  package var weightDecay: Double
  /// The largest norm of an aggregated gradient; nil for no limit.
  package var clip: Double?
  /// The transforms that the optimizer brings.
  package var ofOptimizer: OptimizerTransforms
  /// The optimizer, for transforms that share its state.
  package var optimizer: any Optimizer

  package init(
    layout: TensorLayout, result: AggregationResult, shareCount: Int, weightDecay: Double, clip: Double?,
    ofOptimizer: OptimizerTransforms, optimizer: any Optimizer
  ) {
    self.optimizer = optimizer
    (self.layout, self.result, self.shareCount) = (layout, result, shareCount)
    (self.weightDecay, self.clip, self.ofOptimizer) = (weightDecay, clip, ofOptimizer)
  }
}

/// All transforms, by where they apply, in the order in which they are applied.
///
/// Each is nil if the run does not ask for it.
package enum GradientTransforms {
  private static let ofRanks: [@Sendable (TransformParts) -> (any RankTransform)?] = [
    { $0.ofOptimizer.atRank?($0) }, { WeightDecay($0) },
  ]
  private static let ofOwners: [@Sendable (TransformParts) -> (any OwnerTransform)?] = [{ $0.ofOptimizer.atOwner?($0) }]
  private static let ofUpdates: [@Sendable (TransformParts) -> (any UpdateTransform)?] = [
    { NormClipping($0) }, { $0.ofOptimizer.atUpdate?($0) },
  ]

  /// The transforms of a rank's contributions.
  package static func atRank(_ parts: TransformParts) -> [any RankTransform] { ofRanks.compactMap { $0(parts) } }

  /// The transform of the owners' sums; nil for none.
  package static func atOwner(_ parts: TransformParts) -> (any OwnerTransform)? {
    let wanted = ofOwners.compactMap { $0(parts) }
    require(wanted.count < 2, "the sum of an owner is transformed in one way")
    return wanted.first
  }

  /// The transforms of aggregated gradients.
  package static func atUpdate(_ parts: TransformParts) -> [any UpdateTransform] { ofUpdates.compactMap { $0(parts) } }
}
