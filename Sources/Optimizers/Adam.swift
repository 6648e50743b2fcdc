public import Buffers
internal import Kernels

/// Adam and AdamW: the mean of the gradients, divided by the root of the mean of their squares.
///
/// With x = g + λw (AdamW: x = g): m ← β₁m + (1 − β₁)x; v ← β₂v + (1 − β₂)x²; w ← w − η m̂/(√v̂ + ε), and AdamW takes away ηλw, too.
/// m and v begin at zero; m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) at step t correct that, or are m and v themselves without
/// correction. Each product, sum, quotient and root is rounded separately, in fp32; powers of β are taken in fp64.
///
/// What is given per step keeps its meaning in samples. An update that is the share s of a step (half a minibatch) has the gradient
/// g/s, the mean over its own samples, the rate sη, β₁ˢ and β₂ˢ, and t grows by s: two halves move and forget as much as one step.
/// With a minibatch of N instead of the N₀ of the settings, exponents and t are multiplied by N/N₀, as the caller multiplies η.
/// A short last minibatch is a whole step. When momentum is forgotten, m and its t begin anew, and v stays.
///
/// Magnitudes of x beyond 2⁶³ count as 2⁶³, so that squares are finite, and an update is at most some η; those below 10⁻¹⁹ or so have
/// squares that are rounded coarsely or to zero, and ε, 10⁻¹⁶ at least, hides that.
/// Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2; algorithms §14.2.
/// - Cost: two floats per parameter on every rank; one pass over parameters, gradient and both.
public final class Adam: Optimizer {
  /// The constants.
  public struct Rule: Hashable, Sendable {
    /// β₁, β₂, ε, and which parameters decay.
    public var constants = AdamConstants()
    /// Whether the bias of m and v towards zero is corrected.
    public var correctsBias = true
    /// Whether weights decay beside the gradient (AdamW), not as a part of it.
    public var isDecoupled = false

    /// The usual constants.
    public init() {}

    /// Reads the keys of a specification.
    init(_ specification: Specification, isDecoupled: Bool) throws(SpecificationError) {
      constants = try AdamConstants(specification)
      correctsBias = try specification.flag("correct", default: true)
      self.isDecoupled = isDecoupled
    }

    /// The keys of a specification, for `train list`.
    static let keys =
      AdamConstants.keys + [
        (name: "correct", meaning: "false: both means stay too small in the first steps (true)"),
        DecayScope.key(default: .matrices),
      ]
  }

  private let settings: OptimizerSettings
  private let rule: Rule
  private let decayRanges: DecayRanges
  private var moments: Moments
  private var step: AdamStep
  /// 1/(1 − β₁ᵗ), or 1 without correction.
  private var meanScale = 1.0

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Rule = Rule()) {
    (self.settings, self.rule) = (settings, rule)
    decayRanges = DecayRanges(settings.layout, rule.constants.scope, decay: settings.weightDecay)
    moments = Moments(count: settings.count, beta1: rule.constants.beta1, beta2: rule.constants.beta2)
    step = AdamStep(rate: 0, meanKept: 0, meanGain: 0, squareKept: 0, squareGain: 0, epsilon: rule.constants.epsilon)
    prepare(samples: settings.minibatch, share: 1)
  }

  public func fresh() -> any Optimizer { Adam(settings, rule: rule) }

  public var decayBeside: DecayBeside? {
    guard rule.isDecoupled, settings.weightDecay > 0 else { return nil }
    return DecayBeside(decayRanges, decay: settings.weightDecay, count: settings.count)
  }

  public func setMinibatch(_ count: Int) { moments.setMinibatch(count, of: settings.minibatch) }

  public func prepare(samples: Int, share: Float) {
    moments.prepare(share: share)
    (step.meanKept, step.meanGain, step.squareKept, step.squareGain) = moments.weights
    step.gradientScale = 1 / share
    guard rule.correctsBias else { return }
    let corrections = moments.corrections
    (meanScale, step.rootScale) = (corrections.mean, Float(corrections.root))
  }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let rate = Double(rate) * Double(moments.share)
    step.rate = Float(rate * meanScale)
    let (inside, beside) =
      rule.isDecoupled ? (0, Float(rate * Double(settings.weightDecay))) : (settings.weightDecay, Float(0))
    decayRanges.split(range) { part, decays in
      (step.gradientDecay, step.shrinkage) = decays ? (inside, beside) : (0, 0)
      adamUpdate(
        weights: parameters.values(in: part).baseAddress!, gradient: gradient + (part.lowerBound - range.lowerBound),
        means: moments.means.values(in: part).baseAddress!, squares: moments.squares.values(in: part).baseAddress!,
        count: part.count, step: step)
    }
  }

  public func finish(_ parameters: FloatBuffer, rate: Float) { moments.advance() }

  public func forgetMomentum() { moments.forgetMeans() }

  public func contribute(to inventory: inout StateInventory) { moments.contribute(to: &inventory) }

  public func restore(counters: [String: String]) { moments.restore(counters) }
}

// MARK: - Choices

extension Adam {
  /// `adam`.
  static let entry = entry(
    "adam", "The mean of gradients, over the root of the mean of their squares; decay in the gradient (Kingma & Ba 2015).",
    isDecoupled: false)
  /// `adamw`.
  static let decoupledEntry = entry(
    "adamw", "The same with weight decay beside the gradient: w ← w − η(m̂/(√v̂ + ε) + λw) (Loshchilov & Hutter 2019).",
    isDecoupled: true)

  private static func entry(_ name: String, _ summary: String, isDecoupled: Bool) -> Registry<OptimizerRecipe>.Entry {
    .init(name, summary, keys: Rule.keys) { specification in
      let rule = try Rule(specification, isDecoupled: isDecoupled)
      return OptimizerRecipe(
        learningRate: 0.001, ownMomentum: "beta1", remembersDirection: { _ in rule.constants.beta1 > 0 },
        bufferCount: { _ in 2 }
      ) { Adam($0, rule: rule) }
    }
  }
}
