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
  private let scope: DecayScope
  /// ρ at the minibatch of the settings.
  private let momentum: Float
  private let decayRanges: DecayRanges
  private var step: DescentStep
  /// u; empty without momentum.
  private let velocity: FloatBuffer

  /// Creates an optimizer with zero momentum, whose weight decay acts on the parameters of `scope`.
  public init(_ settings: OptimizerSettings, style: MomentumStyle = MomentumStyle(), scope: DecayScope = .all) {
    self.settings = settings
    self.style = style
    self.scope = scope
    decayRanges = DecayRanges(settings.layout, scope, decay: settings.weightDecay)
    momentum = style.momentum(samples: settings.minibatch, otherwise: settings.momentum)
    step = DescentStep(
      rate: 0, momentum: momentum, gain: style.hasUnitGain ? 1 - momentum : 1, decay: settings.weightDecay,
      isNesterov: style.isNesterov)
    velocity = FloatBuffer(count: momentum == 0 ? 0 : settings.count)
  }

  public func fresh() -> any Optimizer { StochasticGradientDescent(settings, style: style, scope: scope) }

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

  public func contribute(to inventory: inout StateInventory) {
    if velocity.count > 0 { inventory.tensors.append(SavedTensor("momentum", of: velocity)) }
  }

  public func forgetMomentum() { velocity.clear() }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    step.rate = rate
    decayRanges.split(range) { part, decays in
      var step = step
      if !decays { step.decay = 0 }
      sgdUpdate(
        weights: parameters.values(in: part).baseAddress!, gradient: gradient + (part.lowerBound - range.lowerBound),
        momenta: velocity.count == 0 ? nil : velocity.values(in: part).baseAddress!, count: part.count, step: step)
    }
  }

  /// `sgd`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "sgd", "Stochastic gradient descent with momentum: u ← ρu + g, w ← w − ηu.",
    keys: MomentumStyle.keys + [DecayScope.key(default: .all)]
  ) { specification in
    let (style, scope) = (try MomentumStyle(specification), try DecayScope(specification, default: .all))
    return OptimizerRecipe(
      ownMomentum: style.source, remembersDirection: style.remembersDirection, bufferCount: style.bufferCount
    ) {
      StochasticGradientDescent($0, style: style, scope: scope)
    }
  }
}
