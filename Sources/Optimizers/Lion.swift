public import Buffers
internal import Kernels

/// Lion: steps of the same size for all parameters, by the sign of a mean of gradients.
///
/// With g the gradient: c = β₁m + (1 − β₁)g; w ← w − η(sign c + λw); m ← β₂m + (1 − β₂)g. The sign of 0 is 0, so that what has no
/// gradient only decays. Each product and sum is rounded separately, in fp32; powers of β are taken in fp64.
///
/// What is given per step keeps its meaning in samples, as with ``Adam``: an update that is the share s of a step has the gradient g/s,
/// the rate sη, β₁ˢ and β₂ˢ.
///
/// Rates are about a tenth to a third of those of Adam, and weight decays three to ten times as large.
///
/// Source: Chen et al. 2023, "Symbolic discovery of optimization algorithms", program 1; frontier F2.2.
/// - Cost: a float per parameter on every rank; one pass over parameters, gradient and m.
public final class Lion: Optimizer {
  /// The constants.
  public struct Rule: Hashable, Sendable {
    /// β₁ of what the sign is taken of, and β₂ of what is kept, below 1.
    public var (beta1, beta2) = (0.9, 0.99)
    /// Which parameters decay.
    public var scope = DecayScope.matrices

    /// The usual constants.
    public init() {}

    /// Reads the keys of a specification.
    init(_ specification: Specification) throws(SpecificationError) {
      beta1 = try specification.number("beta1", default: beta1, in: 0...0.999999)
      beta2 = try specification.number("beta2", default: beta2, in: 0...0.999999)
      scope = try DecayScope(specification, default: .matrices)
    }

    /// The keys of a specification, for `train list`.
    static let keys = [
      (name: "beta1", meaning: "the weight of the mean of gradients in the sign, in place of --momentum (0.9)"),
      (name: "beta2", meaning: "what a step keeps of that mean (0.99)"), DecayScope.key(default: .matrices),
    ]
  }

  private let settings: OptimizerSettings
  private let rule: Rule
  private let decayRanges: DecayRanges
  /// m.
  private let means: FloatBuffer
  /// N/N₀.
  private var minibatchRatio = 1.0
  private var share: Float = 1
  private var step = LionStep()

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Rule = Rule()) {
    (self.settings, self.rule) = (settings, rule)
    decayRanges = DecayRanges(settings.layout, rule.scope, decay: settings.weightDecay)
    means = FloatBuffer(count: settings.count)
    prepare(samples: settings.minibatch, share: 1)
  }

  public func fresh() -> any Optimizer { Lion(settings, rule: rule) }

  public var decayBeside: DecayBeside? {
    settings.weightDecay > 0 ? DecayBeside(decayRanges, decay: settings.weightDecay, count: settings.count) : nil
  }

  public func setMinibatch(_ count: Int) { minibatchRatio = Double(count) / Double(settings.minibatch) }

  public func prepare(samples: Int, share: Float) {
    self.share = share
    let length = Double(share) * minibatchRatio
    let (kept1, kept2) = (power(rule.beta1, length), power(rule.beta2, length))
    (step.signKept, step.signGain) = (Float(kept1), Float(1 - kept1))
    (step.meanKept, step.meanGain) = (Float(kept2), Float(1 - kept2))
    step.gradientScale = 1 / share
  }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let rate = Double(rate) * Double(share)
    step.rate = Float(rate)
    decayRanges.split(range) { part, decays in
      step.shrinkage = decays ? Float(rate * Double(settings.weightDecay)) : 0
      guard let w = parameters.values(in: part).baseAddress, let m = means.values(in: part).baseAddress else { return }
      lionUpdate(
        weights: w, gradient: gradient + (part.lowerBound - range.lowerBound), means: m, count: part.count, step: step)
    }
  }

  public func forgetMomentum() { means.clear() }

  public func contribute(to inventory: inout StateInventory) { inventory.tensors.append(SavedTensor("momentum", of: means)) }

  /// `lion`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "lion", "Steps of one size, by the sign of a mean of gradients; decay beside the gradient (Chen et al. 2023).",
    keys: Rule.keys
  ) { specification in
    let rule = try Rule(specification)
    return OptimizerRecipe(
      learningRate: 0.0003, ownMomentum: "beta1", remembersDirection: { _ in rule.beta1 > 0 }, bufferCount: { _ in 1 }
    ) { Lion($0, rule: rule) }
  }
}
