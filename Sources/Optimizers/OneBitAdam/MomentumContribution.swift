package import Buffers

/// A rank's share of the next momentum in place of its gradient, once the variance of ``OneBitAdam`` is frozen.
///
///     x = β₁m/K + (1 − β₁)g      Σ x = β₁m + (1 − β₁)ḡ
///
/// m has the same bits on all K ranks, and so has the sum, which is the next m.
///
/// Source: algorithms §14.2.
package final class MomentumContribution: RankTransform {
  private let optimizer: OneBitAdam
  private let tensors: [Tensor]
  private let kept: Float
  private let gain: Float

  init(_ optimizer: OneBitAdam, _ parts: TransformParts) {
    (self.optimizer, tensors) = (optimizer, parts.layout.tensors)
    kept = optimizer.beta1 / Float(parts.shareCount)
    gain = 1 - optimizer.beta1
  }

  package func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float) {
    guard optimizer.isFrozen else { return }
    let (g, m) = (gradient.baseAddress, optimizer.means.baseAddress)
    for i in tensors[index].range { g[i] = kept * m[i] + gain * g[i] }
  }

  package func commit() {}
  package func contribute(to inventory: inout StateInventory) {}
}
