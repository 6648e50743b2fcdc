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
    /// β₁, β₂, ε, and which parameters decay.
    public var constants = AdamConstants()

    /// The usual constants.
    public init(freeze: Int) { self.freeze = freeze }

    /// Reads the keys of a specification.
    init(_ specification: Specification) throws(SpecificationError) {
      freeze = try specification.integer("freeze", default: 200, in: 1...Int(Int32.max))
      constants = try AdamConstants(specification)
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
  /// v and f.
  private var variance: FrozenVariance
  /// Whether the step under way is one with frozen variance.
  private var isFrozen = false

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Rule) {
    (self.settings, self.rule) = (settings, rule)
    decayRanges = DecayRanges(settings.layout, rule.constants.scope, decay: settings.weightDecay)
    (means, variance) = (FloatBuffer(count: settings.count), FrozenVariance(count: settings.count))
  }

  package var exchangesMomentum: Bool { isFrozen }
  package var meanKept: Float { Float(rule.constants.beta1) }

  public func fresh() -> any Optimizer { OneBitAdam(settings, rule: rule) }

  public func setMinibatch(_ count: Int) {
    require(count == settings.minibatch, "1-bit Adam keeps its minibatch")
  }

  public func begin(_ step: Int) {
    isFrozen = step >= rule.freeze
    if !isFrozen { variance.forgetFloor() }
  }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let floor = isFrozen ? variance.floor : 0
    let (kept1, gain1, kept2, gain2) = rule.constants.weights
    decayRanges.split(range) { part, decays in
      let decay = decays ? settings.weightDecay : 0
      let y = gradient + (part.lowerBound - range.lowerBound)
      let (w, m) = (parameters.baseAddress + part.lowerBound, means.baseAddress + part.lowerBound)
      let v = variance.squares.baseAddress + part.lowerBound
      for i in 0..<part.count {
        if isFrozen {
          m[i] = y[i]
        } else {
          let x = max(-AdamStep.largestGradient, min(AdamStep.largestGradient, y[i]))
          m[i] = kept1 * m[i] + gain1 * x
          v[i] = kept2 * v[i] + gain2 * (x * x)
        }
        w[i] = w[i] - rate * (m[i] / (max(v[i].squareRoot(), floor) + rule.constants.epsilon) + decay * w[i])
      }
    }
  }

  public func forgetMomentum() { means.clear() }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("momentum", of: means), SavedTensor("squares", of: variance.squares)]
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
