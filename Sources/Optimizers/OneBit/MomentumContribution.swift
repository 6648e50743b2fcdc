package import Buffers

/// An optimizer whose next momentum crosses instead of gradients from some step on.
package protocol MomentumOptimizer: AnyObject {
  /// Whether it does in the step under way.
  var exchangesMomentum: Bool { get }
  /// m.
  var means: FloatBuffer { get }
  /// β₁.
  var meanKept: Float { get }
}

/// A rank's share of the next momentum in place of its gradient, once the variance of a ``MomentumOptimizer`` is frozen.
///
///     x = β₁m/K + (1 − β₁)g      Σ x = β₁m + (1 − β₁)ḡ
///
/// m has the same bits on all K ranks, and so has the sum, which is the next m.
///
/// Source: algorithms §14.2.
/// - Cost: one pass over gradient and m before the encoding; nothing is sent besides.
package final class MomentumContribution: RankTransform {
  private let optimizer: any MomentumOptimizer
  private let tensors: [Tensor]
  private let kept: Float
  private let gain: Float

  init(_ optimizer: any MomentumOptimizer, _ parts: TransformParts) {
    (self.optimizer, tensors) = (optimizer, parts.layout.tensors)
    kept = optimizer.meanKept / Float(parts.shareCount)
    gain = 1 - optimizer.meanKept
  }

  package func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float) {
    guard optimizer.exchangesMomentum else { return }
    let (g, m) = (gradient.baseAddress, optimizer.means.baseAddress)
    for i in tensors[index].range { g[i] = kept * m[i] + gain * g[i] }
  }

  package func commit() {}
  package func contribute(to inventory: inout StateInventory) {}
}
