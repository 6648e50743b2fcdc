public import Buffers
internal import Kernels

/// Stochastic gradient descent with weight decay and momentum, with the rate outside the momentum.
///
/// With x = g + λw and gain γ (1, or 1 − ρ for unit gain): u ← ρu + γx; w ← w − ηu, or with Nesterov's look-ahead
/// w ← w − η(γx + ρu). Each product and sum is rounded separately, in fp32. Without momentum γ is 1 and there is no u.
///
/// The momentum ρ is that of the minibatch N₀ for which it is meant. With a minibatch of N it is ρ^(N/N₀), so that a gradient
/// is forgotten after the same number of samples, and the gain becomes γ(1 − ρ^(N/N₀))/(1 − ρ), so that the total effect of a
/// gradient, γ/(1 − ρ), is unchanged: u keeps its meaning when N changes, and with η ∝ N so does the rate per sample.
/// Source: algorithms A7 (M1) and §1.8; the low-pass form is the "momentum smoothing" of Seide et al. 2014, whose momentum CNTK
/// gives by a time constant τ in samples. With a time constant ρ is exp(−N/τ), N the samples of each single update, and the
/// gain as above, N₀ being the minibatch of the settings: a short last minibatch and half a minibatch forget according to
/// their samples.
public final class StochasticGradientDescent: Optimizer {
  private let settings: OptimizerSettings
  private let style: MomentumStyle
  /// ρ at the minibatch of the settings.
  private let momentum: Float
  private var step: DescentStep
  /// u; empty without momentum.
  private let velocity: FloatBuffer

  /// Creates an optimizer with zero momentum.
  public init(_ settings: OptimizerSettings, style: MomentumStyle = MomentumStyle()) {
    self.settings = settings
    self.style = style
    momentum = style.momentum(samples: settings.minibatch, otherwise: settings.momentum)
    step = DescentStep(
      rate: 0, momentum: momentum, gain: style.hasUnitGain ? 1 - momentum : 1, decay: settings.weightDecay,
      isNesterov: style.isNesterov)
    velocity = FloatBuffer(count: momentum == 0 ? 0 : settings.count)
  }

  public func setMinibatch(_ count: Int) {
    // With a time constant, `prepare` gives the samples of each update.
    guard momentum > 0 && style.timeConstant == nil else { return }
    use(momentum: Float(power(Double(settings.momentum), Double(count) / Double(settings.minibatch))))
  }

  public func prepare(samples: Int, share: Float) {
    step.decay = share * settings.weightDecay
    guard momentum > 0 && style.timeConstant != nil else { return }
    use(momentum: style.momentum(samples: samples, otherwise: momentum))
  }

  private func use(momentum: Float) {
    step.momentum = momentum
    step.gain = style.hasUnitGain ? 1 - momentum : (1 - momentum) / (1 - self.momentum)
  }

  public var state: [(name: String, values: FloatBuffer)] {
    velocity.count == 0 ? [] : [("momentum", velocity)]
  }

  public func forgetMomentum() { velocity.clear() }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    step.rate = rate
    sgdUpdate(
      weights: parameters.values(in: range).baseAddress!, gradient: gradient,
      momenta: velocity.count == 0 ? nil : velocity.values(in: range).baseAddress!, count: range.count, step: step)
  }
}
