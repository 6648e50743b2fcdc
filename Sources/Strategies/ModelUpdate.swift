internal import Buffers
internal import Codecs
package import Collectives
internal import Kernels
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Updates the parameters with the result of an exchange: a gradient goes through the optimizer, piece by piece as it is
/// decoded unless its norm is needed first; a change is subtracted.
package final class ModelUpdate {
  private let parts: StrategyParts
  private let transforms: [any UpdateTransform]
  /// Holds the aggregated gradient until its norm is known; empty until first needed.
  private var aggregate = FloatBuffer(count: 0)
  /// Seconds spent on updates that are not fused into decoding.
  private(set) var seconds = 0.0

  package init(_ parts: StrategyParts) {
    self.parts = parts
    transforms = GradientTransforms.atUpdate(parts.transformParts)
  }

  private var isChange: Bool { parts.aggregation.capabilities.result == .change }

  /// Whether updates are made while results are decoded.
  var isFused: Bool { isChange || transforms.isEmpty }

  /// Updates the parameters at the learning rate `rate` with what `deliver` writes to its sink: the result of `samples` samples
  /// that are a `share` of a step.
  ///
  /// - Returns: The square of the aggregated gradient's norm if `isMeasured`, which costs a pass over it and changes no bit.
  @discardableResult
  package func apply(
    rate: Float, samples: Int, share: Float = 1, isMeasured: Bool = false, from deliver: (Sink) throws -> Void
  ) throws -> Double? {
    let parameters = parts.parameters
    guard !isChange else {
      try deliver(
        .change { change, shard, shards in
          for (index, value) in zip(change.indices, change.values) {
            parameters.baseAddress[shards.place(of: Int(index), in: shard)] -= value
          }
        })
      return nil
    }
    parts.optimizer.prepare(samples: samples, share: share)
    let needsNorm = isMeasured || !transforms.isEmpty
    if needsNorm {
      if aggregate.count == 0 { aggregate = FloatBuffer(count: parts.network.layout.count) }
      try deliver(.buffer(aggregate))
    } else {
      try deliver(
        .update { [optimizer = parts.optimizer] in optimizer.update($0, of: parameters, with: $1, rate: rate) })
    }
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    let squares = needsNorm ? try parts.timeline.span(.update) { try update(with: aggregate, rate: rate, share: share) } : nil
    parts.optimizer.finish(parameters, rate: rate)
    return squares
  }

  /// The same with a complete result.
  func apply(_ result: FloatBuffer, rate: Float, samples: Int, share: Float = 1) throws {
    guard !isChange else {
      for index in 0..<result.count { parts.parameters.baseAddress[index] -= result.baseAddress[index] }
      return
    }
    try apply(rate: rate, samples: samples, share: share) { sink in
      switch sink {
      case .buffer(let buffer): buffer.copy(from: result)
      case .update(let update): try parts.timeline.span(.update) { update(0..<result.count, result.baseAddress) }
      case .inPlace, .change: fatalError("a gradient is updated with")
      }
    }
  }

  /// The square of the norm of an aggregated gradient of the whole model.
  ///
  /// Collective if the model is split.
  ///
  /// Every rank computes the same norm from the same bits; the slices of a model sum their parts of it, in slice order.
  func sumOfSquares(of aggregate: FloatBuffer) throws -> Double {
    let squares = aggregate.sumOfSquares
    guard let slices = parts.sliceRecords else { return squares }
    return try slices.gather([squares.bitPattern], activity: "the norm of the gradient")
      .reduce(0) { $0 + Double(bitPattern: $1[0]) }
  }

  /// Updates with a complete aggregated gradient, clipped if necessary; returns the square of its norm.
  private func update(with aggregate: FloatBuffer, rate: Float, share: Float) throws -> Double {
    let squares = try sumOfSquares(of: aggregate)
    for transform in transforms { transform.transform(aggregate, squaredNorm: squares, share: Double(share)) }
    parts.optimizer.update(0..<aggregate.count, of: parts.parameters, with: aggregate.baseAddress, rate: rate)
    return squares
  }

  /// Adds the state of the transforms and of the optimizer to the inventory; changes already include their momentum.
  func contribute(to inventory: inout StateInventory) {
    guard !isChange else { return }
    for transform in transforms { transform.contribute(to: &inventory) }
    parts.optimizer.contribute(to: &inventory)
  }

  /// Restores their counters.
  func restore(counters: [String: String]) {
    guard !isChange else { return }
    for transform in transforms { transform.restore(counters: counters) }
    parts.optimizer.restore(counters: counters)
  }
}
