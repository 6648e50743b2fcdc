internal import Buffers
internal import Kernels

/// m and v of Adam and its relatives, means of gradients and of their squares, and the steps that each has seen.
///
/// Both begin at zero. An update that is the share s of a step, with N/N₀ times the minibatch of the settings, has the length s N/N₀ and
/// keeps β₁ and β₂ to that power; the steps grow by it.
struct Moments {
  /// β₁ and β₂.
  private let betas: (Double, Double)
  /// m.
  let means: FloatBuffer
  /// v.
  let squares: FloatBuffer
  /// t of m and of v, in steps of the minibatch of the settings.
  private var (meanSteps, squareSteps) = (0.0, 0.0)
  /// N/N₀.
  private var minibatchRatio = 1.0
  /// The share s of the update in its step, and its length.
  private(set) var share: Float = 1
  private var length = 1.0

  /// Moments that have seen no gradient.
  init(count: Int, beta1: Double, beta2: Double) {
    (means, squares, betas) = (FloatBuffer(count: count), FloatBuffer(count: count), (beta1, beta2))
  }

  mutating func setMinibatch(_ count: Int, of usual: Int) { minibatchRatio = Double(count) / Double(usual) }

  /// Sets the share of the next update in its step.
  mutating func prepare(share: Float) { (self.share, length) = (share, Double(share) * minibatchRatio) }

  /// What the update keeps of m and of v, and how much of x and of x² it adds.
  var weights: (meanKept: Float, meanGain: Float, squareKept: Float, squareGain: Float) {
    let (kept1, kept2) = (power(betas.0, length), power(betas.1, length))
    return (Float(kept1), Float(1 - kept1), Float(kept2), Float(1 - kept2))
  }

  /// What m, and the root of v, are multiplied by after the update under way, so that their bias towards zero is gone: 1/(1 − β₁ᵗ) and
  /// the root of 1/(1 − β₂ᵗ).
  var corrections: (mean: Double, root: Double) {
    (
      1 / (1 - power(betas.0, meanSteps + length)),
      (1 / (1 - power(betas.1, squareSteps + length))).squareRoot()
    )
  }

  /// Adds pieces of a gradient, `gradient` being the values in `range`; magnitudes beyond 2⁶³ count as 2⁶³.
  func add(_ gradient: UnsafePointer<Float>, in range: Range<Int>) {
    let (weights, scale) = (weights, 1 / share)
    let (m, v) = (means.baseAddress + range.lowerBound, squares.baseAddress + range.lowerBound)
    for i in 0..<range.count {
      let x = max(-AdamStep.largestGradient, min(AdamStep.largestGradient, scale * gradient[i]))
      m[i] = weights.meanKept * m[i] + weights.meanGain * x
      v[i] = weights.squareKept * v[i] + weights.squareGain * (x * x)
    }
  }

  /// Ends an update.
  mutating func advance() {
    meanSteps += length
    squareSteps += length
  }

  /// m begins anew; v stays.
  mutating func forgetMeans() {
    means.clear()
    meanSteps = 0
  }

  // MARK: State

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("momentum", of: means), SavedTensor("squares", of: squares)]
    inventory.counters["momentumSteps"] = String(meanSteps.bitPattern)
    inventory.counters["squareSteps"] = String(squareSteps.bitPattern)
  }

  mutating func restore(_ counters: [String: String]) {
    func number(_ name: String) -> Double { counters[name].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } ?? 0 }
    (meanSteps, squareSteps) = (number("momentumSteps"), number("squareSteps"))
  }
}
