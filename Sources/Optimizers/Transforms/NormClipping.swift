package import Buffers
internal import Collectives
internal import Kernels

/// Gradient clipping on every rank: an aggregated gradient whose norm is too large is scaled down (`NormClip`).
package final class NormClipping: UpdateTransform {
  private let clip: NormClip

  /// Creates the transform; nil if nothing is clipped, or the aggregation clips before its memory.
  package init?(_ parts: TransformParts) {
    guard let limit = parts.clip, parts.result == .gradient else { return nil }
    clip = NormClip(limit: limit)
  }

  package func transform(_ gradient: FloatBuffer, squaredNorm: Double, share: Double) {
    guard let factor = clip.factor(norm: squaredNorm.squareRoot(), share: share) else { return }
    multiply(gradient.values(in: 0..<gradient.count), by: Float(factor))
  }

  package func contribute(to inventory: inout StateInventory) {}
}
