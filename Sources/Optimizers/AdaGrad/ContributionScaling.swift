package import Buffers

/// AdaGrad on the part of one rank, before it is encoded: `adagrad:place=partial`.
///
/// Every rank scales by what it has seen itself, so that the sum over ranks is no sum of gradients that one scale was applied to.
/// Source: Seide et al. 2014, section 3.4; algorithms §1.7 (a).
/// - Cost: two floats per parameter on every rank; nothing is sent.
package final class ContributionScaling {
  private let tensors: [Tensor]
  private let state: AdaGradState
  private let sum = MultiplierSum()

  package init(_ rule: AdaGrad, layout: TensorLayout) {
    tensors = layout.tensors
    state = AdaGradState(rule, count: layout.count, isRestorable: true)
  }

  /// The sums of squares of this rank's gradients.
  package var squares: FloatBuffer { state.squares }

  /// Scales one tensor of a gradient that has just become final.
  package func scale(_ tensor: Int, of gradient: FloatBuffer) {
    let values = gradient.values(in: tensors[tensor].range)
    guard let base = values.baseAddress, values.count > 0 else { return }
    sum.clear()
    state.scale(base, at: tensors[tensor].range.lowerBound, count: values.count, addingTo: sum)
    multiply(values, by: Float(1 / MultiplierSum.mean(of: [sum.words])))
  }

  /// Keeps what the gradient added; without this call it is as if the gradient had never been.
  package func commit() { state.commit() }
}
