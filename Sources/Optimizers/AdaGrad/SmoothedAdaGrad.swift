public import Buffers
internal import Kernels

/// AdaGrad after momentum smoothing, on every rank: `adagrad:place=momentum`.
///
/// u ← ρu + (1 − ρ)g as pieces of the gradient arrive; then for each tensor x = u goes through AdaGrad, and
/// w ← w − η(x ⊘ s/m̄ + λw). The paper found it weaker than the other places: smoothing removes the peaks that AdaGrad
/// responds to.
/// Source: Seide et al. 2014, section 3.4; algorithms §1.7 (c).
/// - Cost: three floats per parameter on every rank; a pass over the model that is not fused into the decoding.
public final class SmoothedAdaGrad: Optimizer {
  private let settings: OptimizerSettings
  private let rule: AdaGrad
  private let style: MomentumStyle
  private let scope: DecayScope
  private let adaGrad: AdaGradState
  private let velocity: FloatBuffer
  private let scaled: FloatBuffer
  private let sum = MultiplierSum()
  private var momentum: Float
  private var decay: Float

  init(_ settings: OptimizerSettings, rule: AdaGrad, style: MomentumStyle, scope: DecayScope) {
    self.settings = settings
    self.rule = rule
    self.style = style
    self.scope = scope
    momentum = style.momentum(samples: settings.minibatch, otherwise: settings.momentum)
    decay = settings.weightDecay
    adaGrad = AdaGradState(rule, count: settings.count, isRestorable: false)
    velocity = FloatBuffer(count: settings.count)
    scaled = FloatBuffer(count: settings.count)
  }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("momentum", of: velocity), SavedTensor("adaGrad", of: adaGrad.squares)]
  }

  public func fresh() -> any Optimizer { SmoothedAdaGrad(settings, rule: rule, style: style, scope: scope) }

  public func forgetMomentum() { velocity.clear() }

  public func prepare(samples: Int, share: Float) {
    decay = share * settings.weightDecay
    if style.timeConstant != nil { momentum = style.momentum(samples: samples, otherwise: momentum) }
  }

  public func setMinibatch(_ count: Int) {
    guard style.timeConstant == nil else { return }
    momentum = Float(power(Double(settings.momentum), Double(count) / Double(settings.minibatch)))
  }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let gain = 1 - momentum
    let smoothed = velocity.baseAddress + range.lowerBound
    for i in 0..<range.count { smoothed[i] = momentum * smoothed[i] + gain * gradient[i] }
  }

  public func finish(_ parameters: FloatBuffer, rate: Float) {
    scaled.copy(from: velocity)
    for tensor in settings.layout.tensors where !tensor.range.isEmpty {
      let values = scaled.values(in: tensor.range)
      sum.clear()
      adaGrad.scale(values.baseAddress!, at: tensor.range.lowerBound, count: values.count, addingTo: sum)
      multiply(values, by: Float(1 / MultiplierSum.mean(of: [sum.words])))
      sgdUpdate(
        weights: parameters.values(in: tensor.range).baseAddress!, gradient: values.baseAddress!, momenta: nil,
        count: values.count, step: DescentStep(rate: rate, decay: scope.includes(tensor) ? decay : 0))
    }
  }
}
