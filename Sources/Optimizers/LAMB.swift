public import Buffers
internal import Kernels

/// LAMB: the direction of Adam, with steps in proportion to the norms of the weights, matrix by matrix.
///
/// m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; u = m̂/(√v̂ + ε) + λw; w ← w − ηr u. For each tensor of two or more dimensions,
/// r = ‖w‖/‖u‖, at least 0.01 and at most 10; r is 1 if either norm is 0, and for vectors. Norms are taken in fp64 over fixed lanes;
/// everything else is rounded in fp32, each operation separately. Bias correction, shares of steps and other minibatches are those of
/// ``Adam``.
///
/// Source: You et al. 2020, "Large batch optimization for deep learning", algorithm 2; algorithms §14.4 for the limits of r.
/// - Cost: two floats per parameter on every rank; two passes over the model that are not fused into the decoding.
public final class LAMB: Optimizer {
  /// The least and the largest r.
  public static let ratios: ClosedRange<Double> = 0.01...10

  private let settings: OptimizerSettings
  private let rule: Adam.Rule
  private var moments: Moments

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Adam.Rule = Adam.Rule()) {
    (self.settings, self.rule) = (settings, rule)
    moments = Moments(count: settings.count, beta1: rule.constants.beta1, beta2: rule.constants.beta2)
  }

  public func fresh() -> any Optimizer { LAMB(settings, rule: rule) }

  public func setMinibatch(_ count: Int) { moments.setMinibatch(count, of: settings.minibatch) }

  public func prepare(samples: Int, share: Float) { moments.prepare(share: share) }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    moments.add(gradient, in: range)
  }

  public func finish(_ parameters: FloatBuffer, rate: Float) {
    let corrections = rule.correctsBias ? moments.corrections : (mean: 1, root: 1)
    let (meanScale, rootScale) = (Float(corrections.mean), Float(corrections.root))
    moments.advance()
    for tensor in settings.layout.tensors where !tensor.range.isEmpty {
      let decay = rule.constants.scope.includes(tensor) ? settings.weightDecay : 0
      let (w, m) = (parameters.baseAddress + tensor.range.lowerBound, moments.means.baseAddress + tensor.range.lowerBound)
      let v = moments.squares.baseAddress + tensor.range.lowerBound
      func direction(_ i: Int) -> Float {
        meanScale * m[i] / (rootScale * v[i].squareRoot() + rule.constants.epsilon) + decay * w[i]
      }
      let ratio = tensor.shape.count > 1 ? LAMB.ratio(of: w, to: direction, count: tensor.count) : 1
      let length = Float(Double(rate) * Double(moments.share) * ratio)
      for i in 0..<tensor.count { w[i] = w[i] - length * direction(i) }
    }
  }

  /// r of `count` weights and the direction in which they are moved.
  static func ratio(of weights: UnsafePointer<Float>, to direction: (Int) -> Float, count: Int) -> Double {
    var lanes = (weights: SIMD8<Double>.zero, directions: SIMD8<Double>.zero)
    for i in 0..<count {
      let (a, b) = (Double(weights[i]), Double(direction(i)))
      lanes.weights[i & 7] += a * a
      lanes.directions[i & 7] += b * b
    }
    let norms = (sum(lanes.weights).squareRoot(), sum(lanes.directions).squareRoot())
    guard norms.0 > 0, norms.1 > 0 else { return 1 }
    return max(ratios.lowerBound, min(ratios.upperBound, norms.0 / norms.1))
  }

  /// The sum of eight lanes, by halves.
  static func sum(_ lanes: SIMD8<Double>) -> Double {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
  }

  public func forgetMomentum() { moments.forgetMeans() }

  public func contribute(to inventory: inout StateInventory) { moments.contribute(to: &inventory) }

  public func restore(counters: [String: String]) { moments.restore(counters) }

  /// `lamb`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "lamb", "The direction of Adam, with steps in proportion to the norm of each matrix (You et al. 2020).",
    keys: Adam.Rule.keys
  ) { specification in
    let rule = try Adam.Rule(specification, isDecoupled: true)
    var obstacles = OptimizerObstacles()
    obstacles.slices = "the norms of a matrix take all its slices"
    return OptimizerRecipe(
      learningRate: 0.002, ownMomentum: "beta1", remembersDirection: { _ in rule.constants.beta1 > 0 }, obstacles: obstacles,
      bufferCount: { _ in 2 }
    ) { LAMB($0, rule: rule) }
  }
}
