internal import CKernels

/// The parameters of one step of Lion.
public struct LionStep: Hashable, Sendable {
  /// The factor of the gradient.
  public var gradientScale: Float = 1
  /// β₁ and 1 − β₁.
  public var (signKept, signGain): (Float, Float) = (0.9, 0.1)
  /// β₂ and 1 − β₂.
  public var (meanKept, meanGain): (Float, Float) = (0.99, 0.01)
  /// η.
  public var rate: Float = 0
  /// ηλ.
  public var shrinkage: Float = 0

  /// Creates a step with the usual constants, which changes only m.
  public init() {}
}

/// Moves `weights` one step by the sign of a mean of gradients, without fused multiply-add, so that all paths agree bitwise.
///
/// With x = gradientScale · gradient:
///
///     c = signKept · m + signGain · x
///     w ← w − (rate · sign c + shrinkage · w)      the sign of 0 is 0
///     m ← meanKept · m + meanGain · x
public func lionUpdate(
  weights: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>, means: UnsafeMutablePointer<Float>, count: Int,
  step: LionStep
) {
  if let kernels = ck_table() {
    return withUnsafePointer(to: ck_lion_step(step)) { kernels.pointee.lion(weights, gradient, means, count, $0) }
  }
  Portable.lion(weights, gradient, means, count, step)
}

extension ck_lion_step {
  fileprivate init(_ step: LionStep) {
    self.init(
      gradient_scale: step.gradientScale, sign_kept: step.signKept, sign_gain: step.signGain, mean_kept: step.meanKept,
      mean_gain: step.meanGain, rate: step.rate, shrinkage: step.shrinkage)
  }
}
