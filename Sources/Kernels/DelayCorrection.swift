internal import CKernels

/// The parameters of the first-order correction of gradients that are late.
public struct DelayCorrection: Hashable, Sendable {
  /// λ₀.
  public var lambda: Float
  /// m, the share of the mean square that is kept.
  public var kept: Float
  /// The factor of the new square in the mean square, 1 − m.
  public var gain: Float
  /// ε, added to the mean square under the root.
  public var epsilon: Float
  /// κ: a correction is at most κ·|g|.
  public var clamp: Float

  /// Creates a correction with the mean square's factors m and 1 − m.
  public init(lambda: Float, kept: Float, epsilon: Float, clamp: Float) {
    (self.lambda, self.kept, self.gain, self.epsilon, self.clamp) = (lambda, kept, 1 - kept, epsilon, clamp)
  }
}

/// Corrects `gradient` for the change of the weights since it was computed, in one pass and without fused multiply-add, so that all
/// paths agree bitwise.
///
///     s ← kept·s + gain·(g·g);  λ = lambda/√(s + epsilon); without squares λ = lambda
///     x = (λ·(g·g))·(now − before)
///     g ← g + x, of x no more than clamp·|g| in magnitude
///
/// An x that is not a number counts as 0.
///
/// - Parameters:
///   - gradient: g.
///   - now: The weights.
///   - before: The weights at which g was computed.
///   - squares: s; nil for the same λ everywhere.
///   - count: The number of values in each.
///   - correction: The parameters.
public func correctDelay(
  _ gradient: UnsafeMutablePointer<Float>, now: UnsafePointer<Float>, before: UnsafePointer<Float>,
  squares: UnsafeMutablePointer<Float>?, count: Int, by correction: DelayCorrection
) {
  if let kernels = ck_table() {
    var given = ck_delay_correction()
    (given.lambda, given.kept, given.gain) = (correction.lambda, correction.kept, correction.gain)
    (given.epsilon, given.clamp) = (correction.epsilon, correction.clamp)
    return kernels.pointee.correct_delay(gradient, now, before, squares, count, &given)
  }
  Portable.correctDelay(gradient, now, before, squares, count, correction)
}
