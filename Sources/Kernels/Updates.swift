internal import CKernels

/// How one step of gradient descent changes the weights.
public struct DescentStep: Hashable, Sendable {
  /// The learning rate η.
  public var rate: Float
  /// The share ρ of the old momentum that stays.
  public var momentum: Float
  /// What the new gradient is multiplied by on its way into the momentum: 1, or 1 − ρ for unit gain.
  public var gain: Float
  /// The weight decay λ (L2): λ·w is added to the gradient.
  public var decay: Float
  /// Whether the step looks ahead: it uses gain·y + ρ·u instead of u.
  public var isNesterov: Bool

  /// A step of plain gradient descent; the other arguments add momentum, gain, decay and looking ahead.
  public init(rate: Float, momentum: Float = 0, gain: Float = 1, decay: Float = 0, isNesterov: Bool = false) {
    self.rate = rate
    self.momentum = momentum
    self.gain = gain
    self.decay = decay
    self.isNesterov = isNesterov
  }
}

/// Moves `weights` one step down the gradient, in one pass and without fused multiply-add, so that all paths agree to the bit.
///
/// With y = gradient, or gradient + decay·w where decay is not 0:
///
///     no momenta   w ← w − rate·y
///     momenta u    u ← momentum·u + gain·y;  w ← w − rate·u
///     Nesterov     u as above;               w ← w − rate·(gain·y + momentum·u)
public func sgdUpdate(
  weights: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>, momenta: UnsafeMutablePointer<Float>?, count: Int,
  step: DescentStep
) {
  if let kernels = ck_table() {
    return kernels.pointee.descend(
      weights, gradient, momenta, count, step.rate, step.momentum, step.gain, step.decay, step.isNesterov)
  }
  Portable.descend(weights, gradient, momenta, count, step)
}
