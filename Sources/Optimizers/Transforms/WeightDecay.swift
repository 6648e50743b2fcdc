package import Buffers
internal import Collectives

/// Weight decay within every rank's contribution, for aggregations that deliver a change: λw enters before their memory.
///
/// Every rank adds its share of λw, so that the sum of all contributions has it once. Optimizers add λw themselves, in the pass
/// in which they read the parameters (`DescentStep`), which costs nothing.
package final class WeightDecay: RankTransform {
  private let tensors: [Tensor]
  /// λ, divided by the number of ranks.
  private let decay: Float

  /// Creates the transform; nil if there is no decay, or the optimizer applies it.
  package init?(_ parts: TransformParts) {
    guard parts.result == .change, parts.weightDecay > 0 else { return nil }
    tensors = parts.layout.tensors
    decay = Float(parts.weightDecay / Double(parts.shareCount))
  }

  package func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float) {
    let (g, w) = (gradient.baseAddress, parameters.baseAddress)
    for i in tensors[index].range { g[i] += share * decay * w[i] }
  }

  package func commit() {}
  package func contribute(to inventory: inout StateInventory) {}
}
