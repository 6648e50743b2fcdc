package import Buffers
internal import Kernels

/// AdaGrad on each rank's contribution, before it is encoded: `adagrad:place=partial`.
///
/// Every rank scales by its own history, so the sum over ranks is not a sum of gradients with one common scale.
/// Source: Seide et al. 2014, section 3.4; algorithms §1.7 (a).
/// - Cost: two floats per parameter on every rank; nothing is sent.
package final class ContributionScaling: RankTransform {
  private let tensors: [Tensor]
  private let state: AdaGradState
  private let sum = MultiplierSum()

  /// Creates the transform of the contributions to a model with these tensors.
  package init(_ rule: AdaGrad, _ layout: TensorLayout) {
    tensors = layout.tensors
    state = AdaGradState(rule, count: layout.count, isRestorable: true)
  }

  package func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float) {
    let values = gradient.values(in: tensors[index].range)
    guard let base = values.baseAddress, values.count > 0 else { return }
    sum.clear()
    state.scale(base, at: tensors[index].range.lowerBound, count: values.count, addingTo: sum)
    multiply(values, by: Float(1 / MultiplierSum.mean(of: [sum.words])))
  }

  package func commit() { state.commit() }

  package func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("partialAdaGrad", .equalShare, of: state.squares))
  }
}
