public import Buffers
internal import Kernels

/// 1-bit Adam: Adam for the first steps; then the variance stays as it is, and what ranks exchange is the momentum.
///
/// In the first `freeze` steps, on sums of gradients: m ← β₁m + (1 − β₁)ḡ; v ← β₂v + (1 − β₂)ḡ²; w ← w − η(m/(√v + ε) + λw), without
/// correction of bias. After them v is frozen, and each of K ranks contributes β₁m/K + (1 − β₁)gᵢ, so that the sum is the next m
/// (`MomentumContribution`), and
///
///     w ← w − η(m/(max(√v, f) + ε) + λw)      f = 0.1 · root of the mean of v
///
/// Momentum changes little from step to step, and a code of one bit with error feedback follows it from both sides: ranks and owners
/// have residuals, in units of momentum, which begin with zeros. A step of the first kind is to be exchanged as floats: the warm start
/// of a run is as long as `freeze`. Without the floor f, parameters whose gradients were small before explode after.
///
/// Each product, sum, quotient and root is rounded separately, in fp32. The gradient of a rank counts with its share of all samples.
///
/// Source: Tang et al. 2021, "1-bit Adam"; algorithms §14.2.
/// - Cost: two floats per parameter on every rank; one pass over parameters, m and v.
public final class OneBitAdam: Optimizer, MomentumOptimizer {
  /// The constants.
  public struct Rule: Hashable, Sendable {
    /// The steps before the variance is frozen.
    public var freeze: Int
    /// β₁ and β₂, below 1.
    public var (beta1, beta2) = (0.9, 0.999)
    /// ε.
    public var epsilon: Float = 1e-8
    /// Which parameters decay.
    public var scope = DecayScope.matrices

    /// The usual constants.
    public init(freeze: Int) { self.freeze = freeze }

    /// Reads the keys of a specification.
    init(_ specification: Specification) throws(SpecificationError) {
      freeze = try specification.integer("freeze", default: 200, in: 1...Int(Int32.max))
      beta1 = try specification.number("beta1", default: beta1, in: 0...0.999999)
      beta2 = try specification.number("beta2", default: beta2, in: 0...0.999999)
      epsilon = Float(try specification.number("epsilon", default: 1e-8, in: 1e-16...1))
      scope = try DecayScope(specification, default: .matrices)
    }

    /// The keys of a specification, for `train list`.
    static let keys =
      [
        (name: "freeze", meaning: "steps of Adam at the start, with an exchange of floats; a sixth or so of the run (200)")
      ]
      + FrozenVarianceChoices.keys
  }

  private let settings: OptimizerSettings
  private let rule: Rule
  private let decayRanges: DecayRanges
  /// m.
  package let means: FloatBuffer
  /// v.
  private let squares: FloatBuffer
  /// Whether the step under way is one with frozen variance.
  private var isFrozen = false
  /// f, once it is known.
  private var floor: Float?

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Rule) {
    (self.settings, self.rule) = (settings, rule)
    decayRanges = DecayRanges(settings.layout, rule.scope, decay: settings.weightDecay)
    means = FloatBuffer(count: settings.count)
    squares = FloatBuffer(count: settings.count)
  }

  package var exchangesMomentum: Bool { isFrozen }
  package var meanKept: Float { Float(rule.beta1) }

  public func fresh() -> any Optimizer { OneBitAdam(settings, rule: rule) }

  public func setMinibatch(_ count: Int) {
    require(count == settings.minibatch, "1-bit Adam keeps its minibatch")
  }

  public func begin(_ step: Int) { isFrozen = step >= rule.freeze }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let floor = isFrozen ? frozenFloor : 0
    let (kept1, gain1) = (Float(rule.beta1), Float(1 - rule.beta1))
    let (kept2, gain2) = (Float(rule.beta2), Float(1 - rule.beta2))
    decayRanges.split(range) { part, decays in
      let decay = decays ? settings.weightDecay : 0
      let y = gradient + (part.lowerBound - range.lowerBound)
      let (w, m) = (parameters.baseAddress + part.lowerBound, means.baseAddress + part.lowerBound)
      let v = squares.baseAddress + part.lowerBound
      for i in 0..<part.count {
        if isFrozen {
          m[i] = y[i]
        } else {
          let x = max(-AdamStep.largestGradient, min(AdamStep.largestGradient, y[i]))
          m[i] = kept1 * m[i] + gain1 * x
          v[i] = kept2 * v[i] + gain2 * (x * x)
        }
        w[i] = w[i] - rate * (m[i] / (max(v[i].squareRoot(), floor) + rule.epsilon) + decay * w[i])
      }
    }
  }

  /// f, from the frozen variance.
  private var frozenFloor: Float {
    if let floor { return floor }
    let found = FrozenVariance.floor(of: squares)
    floor = found
    return found
  }

  public func forgetMomentum() { means.clear() }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("momentum", of: means), SavedTensor("squares", of: squares)]
  }

  /// `one-bit-adam`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "one-bit-adam", "Adam at the start; then frozen variance, and an exchange of the momentum by --codec (Tang et al. 2021).",
    keys: Rule.keys
  ) { specification in
    let rule = try Rule(specification)
    return OptimizerRecipe(
      learningRate: 0.001, ownMomentum: "beta1", floatSteps: rule.freeze, obstacles: FrozenVarianceChoices.obstacles,
      transforms: FrozenVarianceChoices.transforms, bufferCount: { _ in 2 }
    ) { OneBitAdam($0, rule: rule) }
  }
}
