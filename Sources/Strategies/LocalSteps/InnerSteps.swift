internal import Buffers
internal import Collectives
internal import Kernels
internal import Networks
internal import Optimizers
internal import Transport

/// The steps that a rank takes alone, from the start of a round on: gradients of its own samples at its own model x, and `--optimizer`.
///
/// A gradient is the mean over the rank's own samples, so that the learning rate is that of a minibatch of its own. FedProx adds μ(x − θ), θ
/// being the start of the round; `--clip` shortens what results, by its own norm on each rank.
/// Source: algorithms §9.1, §9.2.
final class InnerSteps {
  /// x.
  let model: FloatBuffer
  /// The last gradient.
  let gradient: FloatBuffer
  private let computation: GradientComputation
  private let proximal: Float
  private let clip: NormClip?

  /// Steps whose gradients are computed into `gradient`.
  ///
  /// What an aggregation of gradients adds to each (decay, scaling) is no part of it: x moves by `--optimizer` alone.
  init(_ parts: StrategyParts, proximal: Float, into gradient: FloatBuffer) {
    var own = parts
    own.aggregation = .floats
    computation = GradientComputation(own)
    model = FloatBuffer(count: parts.network.layout.count)
    (self.gradient, self.proximal) = (gradient, proximal)
    clip = parts.options.clip.map(NormClip.init)
  }

  /// Seconds spent computing gradients.
  var seconds: Double { computation.seconds }

  /// Called between the layers of the network.
  var betweenLayers: (() -> Void)? {
    get { computation.betweenLayers }
    set { computation.betweenLayers = newValue }
  }

  /// Sets `change` to what the steps have changed in `range`, θ − x with `start` as θ; it may be the last gradient.
  ///
  /// What decays beside the gradient is no part of it: θ has decayed to `decay` of it there.
  func change(
    of range: Range<Int>, from start: FloatBuffer, decay: Float, by optimizer: any Optimizer, into change: FloatBuffer
  ) {
    let (psi, x, origin) = (change.baseAddress, model.baseAddress, start.baseAddress)
    let first = range.lowerBound
    for i in range { psi[i - first] = origin[i] - x[i] }
    guard decay != 1 else { return }
    optimizer.decayBeside?.forEachRange { for i in $0.clamped(to: range) { psi[i - first] = decay * origin[i] - x[i] } }
  }

  /// Multiplies what decays beside the gradient in `range` of x by `factor`.
  func decay(_ range: Range<Int>, by factor: Float, of optimizer: any Optimizer) {
    guard factor != 1 else { return }
    optimizer.decayBeside?.forEachRange { for i in $0.clamped(to: range) { model.baseAddress[i] *= factor } }
  }

  /// Takes a step with the samples that `load` loads, unless there are none or their gradient is not finite.
  ///
  /// - Returns: What there is to say of the gradient.
  func take(
    _ step: Int, on course: Course, from start: FloatBuffer, by optimizer: any Optimizer, of load: () -> Minibatch
  ) throws -> StepAgreement.Statement {
    let found = try computation.compute(
      step, on: course, at: model, into: gradient, traffic: { Traffic() }, of: load)
    guard found.nonFiniteTensor == nil, found.sampleCount > 0 else { return found }
    let (g, x, origin) = (gradient.baseAddress, model.baseAddress, start.baseAddress)
    if proximal > 0 { for i in 0..<gradient.count { g[i] += proximal * (x[i] - origin[i]) } }
    if let factor = clip.flatMap({ $0.factor(norm: gradient.sumOfSquares.squareRoot()) }) {
      for i in 0..<gradient.count { g[i] *= Float(factor) }
    }
    let rate = course.rate(step)
    optimizer.prepare(samples: found.sampleCount, share: 1)
    optimizer.update(0..<gradient.count, of: model, with: g, rate: rate)
    optimizer.finish(model, rate: rate)
    computation.accept()
    return found
  }
}
