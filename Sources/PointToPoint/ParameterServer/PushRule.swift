internal import Buffers
internal import Kernels

/// What an owner does about the age of a gradient before the optimizer applies it.
///
/// The staleness τ of a push is the number of pushes that the owner has applied since the worker pulled the values with which it
/// computed the gradient.
public struct PushRule: Hashable, Sendable {
  /// How the learning rate depends on the staleness.
  public enum Rate: Hashable, Sendable {
    /// Not at all.
    case uniform
    /// η/max(1, τ). Source: Zhang et al. 2016, staleness-aware asynchronous SGD.
    case inverse
    /// η·e^(−βτ).
    case exponential(beta: Double)
    /// η/(L + c·√(t + τ)) for push t, counted from 1. Source: Sra et al. 2016, AdaDelay.
    case adaDelay(l: Double, c: Double)
    /// The same with a c for each value, by the size of its gradients, as a factor of `c`. Source: the same.
    case adaDelayByValue(l: Double, c: Double)
  }

  /// How the learning rate depends on the staleness.
  public var rate = Rate.uniform
  /// The compensation of the delay; nil for none.
  public var compensation: DelayCompensation?

  /// A rule; plain asynchronous descent by default.
  public init(rate: Rate = .uniform, compensation: DelayCompensation? = nil) {
    (self.rate, self.compensation) = (rate, compensation)
  }

  /// The learning rate of a push; that of the schedule if each value has its own.
  ///
  /// - Parameters:
  ///   - rate: That of the schedule.
  ///   - staleness: τ.
  ///   - number: t, the number of pushes to the shard, this one included.
  public func rate(_ rate: Float, staleness: Int, number: Int) -> Float {
    switch self.rate {
    case .uniform, .adaDelayByValue: rate
    case .inverse: rate / Float(max(1, staleness))
    // 1/e in fp64, and a power that is bit-identical on every machine.
    case .exponential(let beta): Float(Double(rate) * power(0x1.78b56362cef38p-2, beta * Double(staleness)))
    case .adaDelay(let l, let c): Float(Double(rate) / (l + c * Double(number + staleness).squareRoot()))
    }
  }
}

/// The first-order correction of a gradient g that was computed at older values b of the parameters w:
/// g + λ·g⊙g⊙(w − b), where λ·g⊙g stands for the diagonal of the Hessian.
///
/// In the constant form λ is λ₀. In the adaptive one it is λ₀/√(s + ε) by value, with s ← m·s + (1 − m)·g⊙g over all pushes. Gradients
/// are means over the worker's samples: λ₀ depends on their scale.
/// Source: Zheng et al. 2017, "Asynchronous stochastic gradient descent with delay compensation"; algorithms §7.4.
public struct DelayCompensation: Hashable, Sendable {
  /// How λ is found.
  public enum Form: String, CaseIterable, Hashable, Sendable {
    /// The same for all values.
    case constant = "c"
    /// By the size of each value's gradients.
    case adaptive = "a"
  }

  /// How λ is found.
  public var form: Form
  /// λ₀.
  public var lambda: Float
  /// m, the share of the mean square that stays.
  public var mean: Float
  /// κ: a correction is at most κ·|g|; infinite for no limit.
  public var clamp: Float
  /// ε.
  public static let epsilon: Float = 1e-7

  /// A compensation.
  public init(_ form: Form, lambda: Float, mean: Float = 0.95, clamp: Float = 1) {
    (self.form, self.lambda, self.mean, self.clamp) = (form, lambda, mean, clamp)
  }

  /// Corrects a gradient of `count` values.
  ///
  /// - Parameters:
  ///   - gradient: g, replaced by the corrected gradient.
  ///   - now: w.
  ///   - before: b, what the worker had pulled.
  ///   - squares: s, which this gradient enters; not read in the constant form.
  ///   - count: The number of values.
  public func correct(
    _ gradient: UnsafeMutablePointer<Float>, now: UnsafePointer<Float>, before: UnsafePointer<Float>,
    squares: UnsafeMutablePointer<Float>, count: Int
  ) {
    correctDelay(
      gradient, now: now, before: before, squares: form == .adaptive ? squares : nil, count: count,
      by: DelayCorrection(lambda: lambda, kept: mean, epsilon: DelayCompensation.epsilon, clamp: clamp))
  }
}
