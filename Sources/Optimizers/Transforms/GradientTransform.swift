package import Buffers
package import Collectives
package import Transport

/// What a rank does to its contribution before it is encoded: tensor by tensor, as each becomes final and is still in the cache.
package protocol RankTransform: Stateful {
  /// Changes the gradient of tensor `index`.
  ///
  /// - Parameters:
  ///   - index: The number of the tensor in the layout.
  ///   - gradient: This rank's contribution, of the length of the layout.
  ///   - parameters: The model that it was computed with.
  ///   - share: The part of a step that the contribution stands for, over all ranks.
  func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float)
  /// Keeps what the last gradient changed here: it counts. Without this call the gradient leaves no trace.
  func commit()
}

/// What the owner of a shard does to the sum of the contributions before it is encoded a second time.
///
/// Only for coded all-reduces, which have such owners.
package protocol OwnerTransform: Stateful {
  /// Prepares for the sums of the ranges that this rank owns; collective.
  ///
  /// - Parameters:
  ///   - ownedRanges: What this rank owns of the flat buffer.
  ///   - isRestorable: Whether an exchange may be discarded.
  ///   - hosts: All ranks, those with other slices of the model among them.
  func attach(ownedRanges: [Range<Int>], isRestorable: Bool, hosts: HostMap) throws
  /// Prepares for the sums of an exchange that begins.
  func begin()
  /// Changes a piece of a sum; called once for every owned value, by the thread that drives the exchange.
  func transform(_ range: Range<Int>, _ values: UnsafeMutablePointer<Float>)
  /// Ends the exchange by `deliver` and hands its result to `sink`, as it is meant for the update; collective.
  func deliver(into sink: Sink, by deliver: (Sink) throws -> Void) throws
  /// Turns what owners had left behind into units of a gradient again, on a rank that owns everything.
  func restoreUnits(of remainder: FloatBuffer)
  /// What was sent beside the exchange.
  var traffic: Traffic { get }
  /// Seconds spent here beside the exchange, the update of the model included.
  var seconds: Double { get }
}

/// What every rank does to the aggregated gradient before the optimizer; it needs the whole of it, with its norm.
package protocol UpdateTransform: AnyObject {
  /// Changes the gradient; every rank does the same to the same bits.
  ///
  /// - Parameters:
  ///   - gradient: The aggregated gradient of this rank's slice of the model.
  ///   - squaredNorm: The square of the norm of the whole gradient.
  ///   - share: The part of a step that it stands for.
  func transform(_ gradient: FloatBuffer, squaredNorm: Double, share: Double)
}

/// What a run asks for of its transforms.
package struct TransformParts {
  /// The tensors of this rank's slice of the model.
  package var layout: TensorLayout
  /// What is delivered: a gradient for an optimizer, or a change of the model.
  package var result: AggregationResult
  /// The number of ranks whose contributions are summed.
  package var shareCount: Int
  /// λ of the weight decay.
  package var weightDecay: Double
  /// The largest norm of an aggregated gradient; nil for any.
  package var clip: Double?
  /// How the optimizer wants gradients scaled before they come to it; nil for not at all.
  package var scaling: AdaGrad?

  package init(
    layout: TensorLayout, result: AggregationResult, shareCount: Int, weightDecay: Double, clip: Double?, scaling: AdaGrad?
  ) {
    (self.layout, self.result, self.shareCount) = (layout, result, shareCount)
    (self.weightDecay, self.clip, self.scaling) = (weightDecay, clip, scaling)
  }
}

/// The transforms there are, by their place, in the order in which they are applied: a row each.
///
/// Each is nil if the run does not ask for it.
package enum GradientTransforms {
  private static let ofRanks: [@Sendable (TransformParts) -> (any RankTransform)?] = [
    { ContributionScaling($0) }, { WeightDecay($0) },
  ]
  private static let ofOwners: [@Sendable (TransformParts) -> (any OwnerTransform)?] = [{ AggregateScaling($0) }]
  private static let ofUpdates: [@Sendable (TransformParts) -> (any UpdateTransform)?] = [{ NormClipping($0) }]

  /// Those of a rank's contributions.
  package static func atRank(_ parts: TransformParts) -> [any RankTransform] { ofRanks.compactMap { $0(parts) } }

  /// That of the owners' sums; nil for none.
  package static func atOwner(_ parts: TransformParts) -> (any OwnerTransform)? {
    let wanted = ofOwners.compactMap { $0(parts) }
    require(wanted.count < 2, "the sum of an owner is transformed in one way")
    return wanted.first
  }

  /// Those of aggregated gradients.
  package static func atUpdate(_ parts: TransformParts) -> [any UpdateTransform] { ofUpdates.compactMap { $0(parts) } }
}
