internal import CKernels

/// The parameters of one step of Adam.
public struct AdamStep: Hashable, Sendable {
  /// The factor of the gradient as it arrives.
  public var gradientScale: Float
  /// The weight decay λ that is added to the gradient (L2).
  public var gradientDecay: Float
  /// β₁, the fraction of the old mean that is kept.
  public var meanKept: Float
  /// The factor of the new gradient in the mean, 1 − β₁.
  public var meanGain: Float
  /// β₂, the fraction of the old mean square that is kept.
  public var squareKept: Float
  /// The factor of the new square in the mean square, 1 − β₂.
  public var squareGain: Float
  /// The factor of the root of the mean square, which corrects its bias.
  public var rootScale: Float
  /// ε, added to the root.
  public var epsilon: Float
  /// The learning rate η, with the factor that corrects the bias of the mean.
  public var rate: Float
  /// The share of a weight that is taken away (decoupled weight decay).
  public var shrinkage: Float

  /// Creates a step without corrections of bias and without weight decay.
  public init(
    rate: Float, meanKept: Float, meanGain: Float, squareKept: Float, squareGain: Float, epsilon: Float,
    gradientScale: Float = 1, gradientDecay: Float = 0, rootScale: Float = 1, shrinkage: Float = 0
  ) {
    (self.rate, self.epsilon, self.rootScale, self.shrinkage) = (rate, epsilon, rootScale, shrinkage)
    (self.meanKept, self.meanGain, self.squareKept, self.squareGain) = (meanKept, meanGain, squareKept, squareGain)
    (self.gradientScale, self.gradientDecay) = (gradientScale, gradientDecay)
  }

  /// The largest magnitude of a gradient that counts: with it no square, and no mean of squares, is infinite.
  package static let largestGradient: Float = 0x1p63
}

/// Moves `weights` one step of Adam, in one pass and without fused multiply-add, so that all paths agree bitwise.
///
///     x ← gradientScale·gradient + gradientDecay·w, at most 2⁶³ in magnitude
///     m ← meanKept·m + meanGain·x
///     v ← squareKept·v + squareGain·(x·x)
///     w ← w − (rate·(m/(rootScale·√v + epsilon)) + shrinkage·w)
///
/// An infinite x counts as 2⁶³; one that is not a number stays so, and so do m, v and w.
///
/// - Parameters:
///   - weights: w.
///   - gradient: The gradient.
///   - means: m.
///   - squares: v.
///   - count: The number of values in each.
///   - step: The parameters.
public func adamUpdate(
  weights: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>, means: UnsafeMutablePointer<Float>,
  squares: UnsafeMutablePointer<Float>, count: Int, step: AdamStep
) {
  if let kernels = ck_table() {
    return withUnsafePointer(to: ck_adam_step(step)) { kernels.pointee.adam(weights, gradient, means, squares, count, $0) }
  }
  Portable.adam(weights, gradient, means, squares, count, step)
}

extension ck_adam_step {
  fileprivate init(_ step: AdamStep) {
    self.init(
      gradient_scale: step.gradientScale, gradient_decay: step.gradientDecay, largest_gradient: AdamStep.largestGradient,
      mean_kept: step.meanKept, mean_gain: step.meanGain, square_kept: step.squareKept, square_gain: step.squareGain,
      root_scale: step.rootScale, epsilon: step.epsilon, rate: step.rate, shrinkage: step.shrinkage)
  }
}
