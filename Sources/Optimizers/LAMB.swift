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
  private let means: FloatBuffer
  private let squares: FloatBuffer
  /// t of m and of v, in steps of the minibatch of the settings.
  private var (meanSteps, squareSteps) = (0.0, 0.0)
  private var minibatchRatio = 1.0
  private var (share, length) = (Float(1), 1.0)

  /// Creates an optimizer that has seen no gradient; the momentum of the settings is not used.
  public init(_ settings: OptimizerSettings, rule: Adam.Rule = Adam.Rule()) {
    (self.settings, self.rule) = (settings, rule)
    means = FloatBuffer(count: settings.count)
    squares = FloatBuffer(count: settings.count)
  }

  public func fresh() -> any Optimizer { LAMB(settings, rule: rule) }

  public func setMinibatch(_ count: Int) { minibatchRatio = Double(count) / Double(settings.minibatch) }

  public func prepare(samples: Int, share: Float) {
    self.share = share
    length = Double(share) * minibatchRatio
  }

  public func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float) {
    let (kept1, kept2) = (power(rule.beta1, length), power(rule.beta2, length))
    let (meanKept, meanGain, squareKept, squareGain) = (Float(kept1), Float(1 - kept1), Float(kept2), Float(1 - kept2))
    let (m, v, scale) = (means.baseAddress + range.lowerBound, squares.baseAddress + range.lowerBound, 1 / share)
    for i in 0..<range.count {
      // As with Adam, so that squares are finite.
      let x = max(-AdamStep.largestGradient, min(AdamStep.largestGradient, scale * gradient[i]))
      m[i] = meanKept * m[i] + meanGain * x
      v[i] = squareKept * v[i] + squareGain * (x * x)
    }
  }

  public func finish(_ parameters: FloatBuffer, rate: Float) {
    meanSteps += length
    squareSteps += length
    let meanScale = rule.correctsBias ? Float(1 / (1 - power(rule.beta1, meanSteps))) : 1
    let rootScale = rule.correctsBias ? Float((1 / (1 - power(rule.beta2, squareSteps))).squareRoot()) : 1
    for tensor in settings.layout.tensors where !tensor.range.isEmpty {
      let decay = rule.scope.includes(tensor) ? settings.weightDecay : 0
      let (w, m) = (parameters.baseAddress + tensor.range.lowerBound, means.baseAddress + tensor.range.lowerBound)
      let v = squares.baseAddress + tensor.range.lowerBound
      func direction(_ i: Int) -> Float {
        meanScale * m[i] / (rootScale * v[i].squareRoot() + rule.epsilon) + decay * w[i]
      }
      var ratio = 1.0
      if tensor.shape.count > 1 {
        var (weights, directions) = (SIMD8<Double>.zero, SIMD8<Double>.zero)
        for i in 0..<tensor.count {
          let (a, b) = (Double(w[i]), Double(direction(i)))
          weights[i & 7] += a * a
          directions[i & 7] += b * b
        }
        let norms = (LAMB.sum(weights).squareRoot(), LAMB.sum(directions).squareRoot())
        if norms.0 > 0, norms.1 > 0 {
          ratio = max(LAMB.ratios.lowerBound, min(LAMB.ratios.upperBound, norms.0 / norms.1))
        }
      }
      let length = Float(Double(rate) * Double(share) * ratio)
      for i in 0..<tensor.count { w[i] = w[i] - length * direction(i) }
    }
  }

  private static func sum(_ lanes: SIMD8<Double>) -> Double {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
  }

  public func forgetMomentum() {
    means.clear()
    meanSteps = 0
  }

  public func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("momentum", of: means), SavedTensor("squares", of: squares)]
    inventory.counters["momentumSteps"] = String(meanSteps.bitPattern)
    inventory.counters["squareSteps"] = String(squareSteps.bitPattern)
  }

  public func restore(counters: [String: String]) {
    func number(_ name: String) -> Double { counters[name].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } ?? 0 }
    (meanSteps, squareSteps) = (number("momentumSteps"), number("squareSteps"))
  }

  /// `lamb`.
  static let entry = Registry<OptimizerRecipe>.Entry(
    "lamb", "The direction of Adam, with steps in proportion to the norm of each matrix (You et al. 2020).",
    keys: Adam.Rule.keys
  ) { specification in
    let rule = try Adam.Rule(specification, isDecoupled: true)
    var obstacles = OptimizerObstacles()
    obstacles.slices = "the norms of a matrix take all its slices"
    return OptimizerRecipe(learningRate: 0.002, ownMomentum: "beta1", obstacles: obstacles, bufferCount: { _ in 2 }) {
      LAMB($0, rule: rule)
    }
  }
}
