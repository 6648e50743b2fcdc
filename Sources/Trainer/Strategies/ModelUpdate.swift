internal import Buffers
internal import Collectives
internal import Networks

/// Applies an aggregated gradient to the parameters: piece by piece as it is decoded, unless its norm is needed first.
final class ModelUpdate {
  private let parts: StrategyParts
  /// Where the aggregated gradient waits for its norm; empty without clipping.
  private let aggregate: FloatBuffer
  /// Seconds spent here on what is not fused into the decoding.
  private(set) var seconds = 0.0

  init(_ parts: StrategyParts) {
    self.parts = parts
    aggregate = FloatBuffer(count: parts.options.clip == nil ? 0 : parts.network.layout.count)
  }

  /// Whether updates are made while sums are decoded.
  var isFused: Bool { parts.options.clip == nil }

  /// Updates the parameters at the learning rate `rate` with what `deliver` puts where it is told: the gradient of `samples`.
  func apply(rate: Float, samples: Int, from deliver: (GradientExchange.Destination) throws -> Void) throws {
    parts.optimizer.prepare(samples: samples)
    if parts.options.clip == nil {
      try deliver(
        .update { range, values in
          unsafe self.parts.optimizer.update(range, of: self.parts.parameters, with: values, rate: rate)
        })
    } else {
      try deliver(.buffer(aggregate))
    }
    let stopwatch = Stopwatch()
    if let clip = parts.options.clip { try clipAndUpdate(to: clip, rate: rate) }
    parts.optimizer.finish(parts.parameters, rate: rate)
    seconds += stopwatch.seconds
  }

  /// Shortens the aggregated gradient to norm `limit` where it is longer, and updates.
  ///
  /// Every rank computes the same norm of the same bits; the stripes of a model add up their parts of it, in their order.
  private func clipAndUpdate(to limit: Double, rate: Float) throws {
    var squares = aggregate.sumOfSquares
    if let stripes = parts.stripeRecords {
      squares = try stripes.gather([squares.bitPattern], activity: "the norm of the gradient")
        .reduce(0) { $0 + Double(bitPattern: $1[0]) }
    }
    let norm = squares.squareRoot()
    if norm > limit {
      let factor = Float(limit / norm)
      for index in 0..<aggregate.count { unsafe aggregate.baseAddress[index] *= factor }
    }
    unsafe parts.optimizer.update(0..<aggregate.count, of: parts.parameters, with: aggregate.baseAddress, rate: rate)
  }
}
