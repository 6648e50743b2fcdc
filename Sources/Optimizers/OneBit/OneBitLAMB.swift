public import Buffers
internal import Kernels

/// 1-bit LAMB: LAMB for the first steps; then frozen variance, an exchange of the momentum, and ratios that follow what the momentum says
/// of the variance.
///
/// In the first `freeze` steps, on sums of gradients that cross as floats: m ← β₁m + (1 − β₁)ḡ; v ← β₂v + (1 − β₂)ḡ²; u = m/(√v + ε) + λw;
/// w ← w − ηr u, without correction of bias, with r = ‖w‖/‖u‖ of each matrix as in ``LAMB``, of which r̄ ← 0.9 r̄ + 0.1 r is
/// kept. After them v and r̄ are frozen, ranks contribute shares of the next momentum m′ (`MomentumContribution`), and
///
///     ĝ = (m′ − β₁m)/(1 − β₁)      v̂ ← β₂v̂ + (1 − β₂)ĝ²      m ← m′      v̂ = v at the freeze
///     q = largest (max(√v, f) + ε)/(max(√v̂, f) + ε) of the matrix, 0.5 to 4, within 10 % of the last q
///     w ← w − η r̄ q (m/(max(√v, f) + ε) + λw)
///
/// f is the floor of ``OneBitAdam``. Vectors have r = q = 1. The reference scales the momentum of each matrix to one size before the
/// exchange, as its code has one scale for all; codes here have a scale for each group, and no group crosses the end of a matrix.
///
/// Norms and largest values are taken of the same bits on every rank, in fp64 over fixed lanes; everything else is rounded in fp32.
///
/// Source: Li et al. 2021, "1-bit LAMB"; algorithms §14.4.
/// - Cost: three floats per parameter on every rank, two per matrix; two passes over the model that are not fused into the decoding.
public final class OneBitLAMB: Optimizer, MomentumOptimizer {
  /// The least and the largest q.
  public static let factors: ClosedRange<Float> = 0.5...4
  /// How far q may be from the last one, as a share.
  static let factorStep: Float = 0.1
  /// What a step keeps of r̄.
  static let ratioKept: Float = 0.9

  private let settings: OptimizerSettings
  private let rule: OneBitAdam.Rule
  /// m.
  package let means: FloatBuffer
  /// v and f.
  private var variance: FrozenVariance
  /// v̂.
  private let freshSquares: FloatBuffer
  /// r̄ of each tensor, then the last q of each; 0 before the first.
  private let ratios: FloatBuffer
  private var isFrozen = false

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: OneBitAdam.Rule) {
    (self.settings, self.rule) = (settings, rule)
    (means, variance) = (FloatBuffer(count: settings.count), FrozenVariance(count: settings.count))
    freshSquares = FloatBuffer(count: settings.count)
    ratios = FloatBuffer(count: 2 * settings.layout.tensors.count)
  }

  package var exchangesMomentum: Bool { isFrozen }
  package var meanKept: Float { Float(rule.constants.beta1) }

  public func fresh() -> any Optimizer { OneBitLAMB(settings, rule: rule) }

  public func setMinibatch(_ count: Int) {
    require(count == settings.minibatch, "1-bit LAMB keeps its minibatch")
  }

  public func begin(_ step: Int) {
    isFrozen = step >= rule.freeze
    if !isFrozen { variance.forgetFloor() }
    if step == rule.freeze { freshSquares.copy(from: variance.squares) }
  }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let (kept1, gain1, kept2, gain2) = rule.constants.weights
    let m = means.baseAddress + range.lowerBound
    let v = (isFrozen ? freshSquares : variance.squares).baseAddress + range.lowerBound
    for i in 0..<range.count {
      let found = isFrozen ? (gradient[i] - kept1 * m[i]) / gain1 : gradient[i]
      let x = max(-AdamStep.largestGradient, min(AdamStep.largestGradient, found))
      m[i] = isFrozen ? gradient[i] : kept1 * m[i] + gain1 * x
      v[i] = kept2 * v[i] + gain2 * (x * x)
    }
  }

  public func finish(_ parameters: FloatBuffer, rate: Float) {
    let floor = isFrozen ? variance.floor : 0
    for (index, tensor) in settings.layout.tensors.enumerated() where !tensor.range.isEmpty {
      let start = tensor.range.lowerBound
      let decay = rule.constants.scope.includes(tensor) ? settings.weightDecay : 0
      let (w, m, v) = (parameters.baseAddress + start, means.baseAddress + start, variance.squares.baseAddress + start)
      func divisor(_ square: Float) -> Float { max(square.squareRoot(), floor) + rule.constants.epsilon }
      func direction(_ i: Int) -> Float { m[i] / divisor(v[i]) + decay * w[i] }
      var ratio: Float = 1
      if tensor.shape.count > 1 {
        let places = (ratio: index, factor: settings.layout.tensors.count + index)
        if isFrozen {
          let fresh = freshSquares.baseAddress + start
          let largest = (0..<tensor.count).reduce(Float(0)) { max($0, divisor(v[$1]) / divisor(fresh[$1])) }
          ratios[places.factor] = OneBitLAMB.factor(largest, after: ratios[places.factor])
          ratio = ratios[places.ratio] * ratios[places.factor]
        } else {
          ratio = Float(LAMB.ratio(of: w, to: direction, count: tensor.count))
          let (kept, last) = (OneBitLAMB.ratioKept, ratios[places.ratio])
          ratios[places.ratio] = last == 0 ? ratio : kept * last + (1 - kept) * ratio
        }
      }
      let length = rate * ratio
      for i in 0..<tensor.count { w[i] = w[i] - length * direction(i) }
    }
  }

  /// q, by the largest quotient of a matrix and the last q; 0 if there was none, which counts as 1.
  static func factor(_ largest: Float, after last: Float) -> Float {
    let last = last == 0 ? 1 : last
    let bounded = max(factors.lowerBound, min(factors.upperBound, largest))
    return max((1 - factorStep) * last, min((1 + factorStep) * last, bounded))
  }

  public func forgetMomentum() { means.clear() }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [
      SavedTensor("momentum", of: means), SavedTensor("squares", of: variance.squares),
      SavedTensor("freshSquares", of: freshSquares), SavedTensor("ratios", of: ratios),
    ]
  }

  /// `one-bit-lamb`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "one-bit-lamb", "LAMB at the start; then frozen variance, and an exchange of the momentum by --codec (Li et al. 2021).",
    keys: OneBitAdam.Rule.keys
  ) { specification in
    let rule = try OneBitAdam.Rule(specification)
    return OptimizerRecipe(
      learningRate: 0.002, ownMomentum: "beta1", floatSteps: rule.freeze, obstacles: FrozenVarianceChoices.obstacles,
      transforms: FrozenVarianceChoices.transforms, bufferCount: { _ in 3 }
    ) { OneBitLAMB($0, rule: rule) }
  }
}
