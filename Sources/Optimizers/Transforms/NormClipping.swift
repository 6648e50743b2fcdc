package import Buffers
internal import Collectives

/// Gradient clipping on every rank: an aggregated gradient that is too long is shortened (`NormClip`).
package final class NormClipping: UpdateTransform {
  private let clip: NormClip

  /// Nil if nothing is clipped, or the aggregation clips before it remembers.
  package init?(_ parts: TransformParts) {
    guard let limit = parts.clip, parts.result == .gradient else { return nil }
    clip = NormClip(limit: limit)
  }

  package func transform(_ gradient: FloatBuffer, squaredNorm: Double, share: Double) {
    guard let factor = clip.factor(norm: squaredNorm.squareRoot(), share: share) else { return }
    multiply(gradient.values(in: 0..<gradient.count), by: Float(factor))
  }
}
