public import Buffers
internal import Kernels

/// 0/1 Adam: the variance sees gradients less and less often, and codes cross in between.
///
/// In steps t that are multiples of V, gradients cross as floats, and m ← β₁m + (1 − β₁)ḡ; v ← β₂v + (1 − β₂)ḡ². In those between, the
/// run's code carries gradients, and only m follows them. V is 1 at first, and doubles after every `scale` steps of the first kind. After
/// `freeze` steps v is frozen, and ranks contribute shares of the next momentum (`MomentumContribution`), as with ``OneBitAdam``:
///
///     w ← w − η(m/(max(√v, f) + ε) + λw)      f = 0.1 · root of the mean of v, once V > 1
///
/// without correction of bias. Contributions are gradients before the freeze and momentum after it, so that residuals begin anew there.
/// After the freeze ranks take L − 1 of L steps alone (`LocalMomentum`), if `local` is above 1: L is 1 at first, doubles every
/// `local-scale` steps, and is `local` at most. Steps that are multiples of `local` end an exchange, and are where ranks meet.
///
/// The schedule is the same on any number of ranks: without local steps and with floats, a run on several is that on one, up to rounding.
///
/// Each product, sum, quotient and root is rounded separately, in fp32.
///
/// Source: Lu et al. 2022, "Maximizing communication efficiency for large-scale training via 0/1 Adam"; algorithms §14.3.
/// - Cost: two floats per parameter on every rank, two more with local steps; one pass over parameters, m and v, and one over v for f in
///   each step before the freeze.
public final class ZeroOneAdam: LocalStepOptimizer, MomentumOptimizer {
  /// The constants.
  public struct Rule: Hashable, Sendable {
    /// The steps before the variance is frozen.
    public var freeze: Int
    /// The steps with floats after which V doubles.
    public var scale = 16
    /// The most steps from one exchange to the next, a power of two, and the steps after which they double.
    public var (local, localScale) = (1, 100)
    /// β₁, β₂, ε, and which parameters decay.
    public var constants = AdamConstants()

    /// The usual constants.
    public init(freeze: Int) { self.freeze = freeze }

    /// Reads the keys of a specification.
    init(_ specification: Specification) throws(SpecificationError) {
      freeze = try specification.integer("freeze", default: 1000, in: 1...Int(Int32.max))
      scale = try specification.integer("scale", default: scale, in: 1...Int(Int32.max))
      local = try specification.integer("local", default: local, in: 1...1024)
      guard local & (local - 1) == 0 else {
        throw SpecificationError("'\(specification)': local is a power of two, not \(local)")
      }
      localScale = try specification.integer("local-scale", default: localScale, in: 1...Int(Int32.max))
      constants = try AdamConstants(specification)
    }

    /// The keys of a specification, for `train list`.
    static let keys =
      [
        (name: "freeze", meaning: "steps before the variance stays as it is, and momentum crosses (1000)"),
        (
          name: "scale",
          meaning: "n: the first n steps are exchanged as floats; after every n such steps they come half as often (16)"
        ),
        (name: "local", meaning: "the most steps from one exchange to the next, after the freeze: a power of two (1)"),
        (name: "local-scale", meaning: "steps after which these double, from 1 on (100)"),
      ] + FrozenVarianceChoices.keys

    /// Whether v sees the gradient of a step.
    public func updatesVariance(at step: Int) -> Bool {
      guard step < freeze else { return false }
      var (interval, start) = (1, 0)
      while true {
        let first = (start + interval - 1) / interval * interval
        let last = first + interval * (scale - 1)
        if step <= last { return step >= first && step % interval == 0 }
        (interval, start) = (2 * interval, last + 1)
      }
    }

    /// Whether a step after the freeze ends with an exchange.
    public func exchanges(at step: Int) -> Bool {
      guard step >= freeze, local > 1 else { return true }
      let doublings = min((step - freeze) / localScale, local.trailingZeroBitCount)
      return (step + 1) % (1 << doublings) == 0
    }
  }

  private let settings: OptimizerSettings
  private let rule: Rule
  private let decayRanges: DecayRanges
  /// m.
  package let means: FloatBuffer
  /// v and f.
  private var variance: FrozenVariance
  /// The step under way.
  private var step = 0
  /// The steps since the last exchange; empty without local steps.
  private var interval: LocalMomentum
  /// Whether the step under way is a local one.
  private var isLocalStep = false

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Rule) {
    (self.settings, self.rule) = (settings, rule)
    decayRanges = DecayRanges(settings.layout, rule.constants.scope, decay: settings.weightDecay)
    (means, variance) = (FloatBuffer(count: settings.count), FrozenVariance(count: settings.count))
    interval = LocalMomentum(count: rule.local > 1 ? settings.count : 0)
  }

  package var exchangesMomentum: Bool { step >= rule.freeze }
  package var meanKept: Float { Float(rule.constants.beta1) }

  public func fresh() -> any Optimizer { ZeroOneAdam(settings, rule: rule) }

  public func setMinibatch(_ count: Int) {
    require(count == settings.minibatch, "0/1 Adam keeps its minibatch")
  }

  public func exchangesFloats(at step: Int) -> Bool { rule.updatesVariance(at: step) }

  public func changesContributions(at step: Int) -> Bool { step == rule.freeze }

  public func begin(_ step: Int) {
    // Frozen, v and its floor stay.
    if step <= rule.freeze || self.step < rule.freeze { variance.forgetFloor() }
    (self.step, isLocalStep) = (step, false)
  }

  public var stepsPerMeeting: Int { rule.local }

  public func takesLocally(_ step: Int) -> Bool { !rule.exchanges(at: step) }

  public func beginLocalStep() { isLocalStep = true }

  /// Replaces the gradient in `range` by this rank's next momentum or, if the step ends with an exchange, by its contribution.
  func contribute(_ range: Range<Int>, of gradient: FloatBuffer) {
    guard exchangesMomentum else { return }
    let (kept, gain) = (Float(rule.constants.beta1), Float(1 - rule.constants.beta1) * Float(settings.shareCount))
    let (g, m) = (gradient.baseAddress, means.baseAddress)
    for i in range { g[i] = kept * m[i] + gain * g[i] }
    if !isLocalStep { interval.contribute(range, of: gradient, rankCount: settings.shareCount) }
  }

  public func updateLocally(_ parameters: FloatBuffer, with contribution: FloatBuffer, rate: Float) {
    let floor = currentFloor
    interval.take(contribution, from: parameters, rate: rate) {
      means.copy(from: contribution)
      let (w, m, v) = (parameters.baseAddress, means.baseAddress, variance.squares.baseAddress)
      for i in 0..<settings.count { w[i] = w[i] - rate * (m[i] / (max(v[i].squareRoot(), floor) + rule.constants.epsilon)) }
    }
  }

  public func contributeLocalSteps(to contribution: FloatBuffer) -> Bool {
    guard interval.count > 0 else { return false }
    interval.contribute(to: contribution, rankCount: settings.shareCount)
    return true
  }

  public func finish(_ parameters: FloatBuffer, rate: Float) { interval.end() }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let (isFrozen, seesSquares, floor) = (exchangesMomentum, rule.updatesVariance(at: step), currentFloor)
    let (kept1, gain1, kept2, gain2) = rule.constants.weights
    // What was done alone is undone, and done again together.
    interval.goBack(range, parameters)
    let rate = interval.rate(with: rate)
    decayRanges.split(range) { part, decays in
      let decay = decays ? settings.weightDecay : 0
      let y = gradient + (part.lowerBound - range.lowerBound)
      let (w, m) = (parameters.baseAddress + part.lowerBound, means.baseAddress + part.lowerBound)
      let v = variance.squares.baseAddress + part.lowerBound
      for i in 0..<part.count {
        let x = max(-AdamStep.largestGradient, min(AdamStep.largestGradient, y[i]))
        m[i] = isFrozen ? y[i] : kept1 * m[i] + gain1 * x
        if seesSquares { v[i] = kept2 * v[i] + gain2 * (x * x) }
        w[i] = w[i] - rate * (m[i] / (max(v[i].squareRoot(), floor) + rule.constants.epsilon) + decay * w[i])
      }
    }
  }

  /// f: of v before the step, so that it is the same for all pieces of it; 0 before the first code.
  private var currentFloor: Float {
    guard step >= rule.scale || step >= rule.freeze else { return 0 }
    return variance.floor
  }

  public func forgetMomentum() { means.clear() }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("momentum", of: means), SavedTensor("squares", of: variance.squares)]
  }

  /// `zero-one-adam`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "zero-one-adam",
    "one-bit-adam whose variance sees gradients less and less often, with codes of --codec in between (Lu et al. 2022).",
    keys: Rule.keys
  ) { specification in
    let rule = try Rule(specification)
    var transforms = FrozenVarianceChoices.transforms
    if rule.local > 1 {
      transforms.atRank = { parts in
        guard let optimizer = parts.optimizer as? ZeroOneAdam else { fatalError("the momentum is that of another optimizer") }
        return LocalMomentumContribution(optimizer, parts.layout.tensors)
      }
    }
    return OptimizerRecipe(
      learningRate: 0.001, ownMomentum: "beta1", floatSteps: min(rule.scale, rule.freeze),
      obstacles: FrozenVarianceChoices.obstacles, transforms: transforms, bufferCount: { _ in rule.local > 1 ? 4 : 2 }
    ) { ZeroOneAdam($0, rule: rule) }
  }
}
