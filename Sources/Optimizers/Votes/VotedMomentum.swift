public import Buffers

/// Momentum of each rank's own, on whose signs the ranks vote: SIGNUM and Distributed Lion.
///
/// A rank keeps m of its own gradients, and contributes c, of which the aggregation `majority-vote` takes the signs; s is what comes back:
/// the sign of the sum of all ranks' signs, or their mean.
///
///     c = β₁m + (1 − β₁)g      s = vote of all c      w ← w − η(s + λw)      m ← β₂m + (1 − β₂)g
///
/// With β₁ = β₂ this is SIGNUM, and with β₁ = β₂ = 0 signSGD. One rank alone does the steps of ``Lion``, bit for bit if its
/// votes may abstain. No float crosses, and nothing stays in a residual; m differs between ranks, and its sum is that of the
/// mean gradient: another number of ranks begins with equal shares of it.
///
/// Each product and sum is rounded separately, in fp32. The gradient of a rank counts with its share of all samples.
///
/// Source: Bernstein et al. 2018, "signSGD", algorithm 2; Liu et al. 2024, "Communication efficient distributed training with Distributed
/// Lion", algorithm 1; algorithms §3.3; frontier F2.2.
/// - Cost: two floats per parameter on every rank: m, and the next m until the step counts.
public final class VotedMomentum: Optimizer {
  /// The constants.
  public struct Rule: Hashable, Sendable {
    /// β₁ of what is voted on, and β₂ of what is kept, below 1.
    public var (beta1, beta2) = (0.9, 0.99)
    /// Which parameters decay.
    public var scope = DecayScope.matrices

    /// The usual constants of Distributed Lion.
    public init() {}
  }

  private let settings: OptimizerSettings
  private let rule: Rule
  private let decayRanges: DecayRanges
  /// m of this rank.
  private let means: FloatBuffer
  /// m after the step under way.
  private let nextMeans: FloatBuffer

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Rule = Rule()) {
    (self.settings, self.rule) = (settings, rule)
    decayRanges = DecayRanges(settings.layout, rule.scope, decay: settings.weightDecay)
    (means, nextMeans) = (FloatBuffer(count: settings.count), FloatBuffer(count: settings.count))
  }

  public func fresh() -> any Optimizer { VotedMomentum(settings, rule: rule) }

  public var decayBeside: DecayBeside? {
    settings.weightDecay > 0 ? DecayBeside(decayRanges, decay: settings.weightDecay, count: settings.count) : nil
  }

  public func setMinibatch(_ count: Int) {
    require(count == settings.minibatch, "momentum that ranks vote on keeps its minibatch")
  }

  /// Replaces the values in `range` of a gradient by what is voted on.
  func contribute(_ range: Range<Int>, of gradient: FloatBuffer) {
    let (kept1, gain1) = (Float(rule.beta1), Float(1 - rule.beta1))
    let (kept2, gain2) = (Float(rule.beta2), Float(1 - rule.beta2))
    let (g, m, next) = (gradient.baseAddress, means.baseAddress, nextMeans.baseAddress)
    for i in range {
      let (old, x) = (m[i], g[i])
      next[i] = kept2 * old + gain2 * x
      g[i] = kept1 * old + gain1 * x
    }
  }

  /// Keeps the momentum of the last contribution.
  func keep() { means.copy(from: nextMeans) }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    decayRanges.split(range) { part, decays in
      let shrinkage = decays ? Float(Double(rate) * Double(settings.weightDecay)) : 0
      let (s, w) = (gradient + (part.lowerBound - range.lowerBound), parameters.baseAddress + part.lowerBound)
      for i in 0..<part.count { w[i] = w[i] - (rate * s[i] + shrinkage * w[i]) }
    }
  }

  public func forgetMomentum() { means.clear() }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("momentum", .equalShare, of: means))
  }
}

/// What a rank votes on, in place of its gradient.
package final class VoteContribution: RankTransform {
  private let optimizer: VotedMomentum
  private let tensors: [Tensor]

  init(_ optimizer: VotedMomentum, _ tensors: [Tensor]) { (self.optimizer, self.tensors) = (optimizer, tensors) }

  package func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float) {
    optimizer.contribute(tensors[index].range, of: gradient)
  }

  package func commit() { optimizer.keep() }
  package func contribute(to inventory: inout StateInventory) {}
}

// MARK: - Choices

extension VotedMomentum {
  /// `signum`.
  static let signumEntry = Registry<OptimizerRecipe>.Entry(
    "signum", "Steps of one size, by a vote of the ranks on the signs of their momentum (Bernstein et al. 2018).",
    keys: [
      (name: "beta", meaning: "what a step keeps of a rank's momentum, in place of --momentum; 0 for signSGD (0.9)"),
      DecayScope.key(default: .matrices),
    ]
  ) { specification in
    var rule = Rule()
    rule.beta1 = try specification.number("beta", default: 0.9, in: 0...0.999999)
    rule.beta2 = rule.beta1
    rule.scope = try DecayScope(specification, default: .matrices)
    return recipe(rule, ownMomentum: "beta", learningRate: 0.0001)
  }

  /// `distributed-lion`.
  static let lionEntry = Registry<OptimizerRecipe>.Entry(
    "distributed-lion", "lion with momentum of each rank's own, whose signs the ranks vote on (Liu et al. 2024).",
    keys: Lion.Rule.keys
  ) { specification in
    let lion = try Lion.Rule(specification)
    var rule = Rule()
    (rule.beta1, rule.beta2, rule.scope) = (lion.beta1, lion.beta2, lion.scope)
    return recipe(rule, ownMomentum: "beta1", learningRate: 0.0003)
  }

  private static func recipe(_ rule: Rule, ownMomentum: String, learningRate: Double) -> OptimizerRecipe {
    var obstacles = OptimizerObstacles()
    obstacles.sums = "its ranks vote on signs, for which majority-vote is made"
    obstacles.replicatedStart = "each rank votes by momentum of its own gradients"
    obstacles.automaticStart = "its ranks vote from the first step"
    obstacles.clip = "what crosses is signs of momentum"
    obstacles.otherStrategies = "its ranks vote on each step"
    obstacles.otherMinibatches = "its momentum is that of one minibatch"
    obstacles.tunedRate = "its rate is the size of every change, and no search for one is made"
    var transforms = OptimizerTransforms()
    transforms.atRank = { parts in
      guard let optimizer = parts.optimizer as? VotedMomentum else {
        fatalError("the momentum is that of another optimizer")
      }
      return VoteContribution(optimizer, parts.layout.tensors)
    }
    return OptimizerRecipe(
      learningRate: learningRate, ownMomentum: ownMomentum, codec: "majority-vote", obstacles: obstacles,
      transforms: transforms, bufferCount: { _ in 2 }
    ) { VotedMomentum($0, rule: rule) }
  }
}
