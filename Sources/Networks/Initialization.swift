internal import Buffers

/// How the parameters of a linear layer are drawn before the first step.
public enum Initialization: String, CaseIterable, Sendable {
  /// Weights and biases uniform in ±1/√fan-in, the default of PyTorch's linear layer.
  case uniform
  /// Weights uniform in ±√(6/fan-in), biases zero: keeps the variance through ReLUs. Source: He et al. 2015.
  case he
  /// Weights uniform in ±√(6/(fan-in + fan-out)), biases zero: for sigmoids. Source: Glorot and Bengio 2010.
  case glorot

  /// The largest magnitude of a weight, and of a bias.
  ///
  /// Uses only divisions and square roots, which IEEE 754 rounds identically everywhere.
  func bounds(inputCount: Int, outputCount: Int) -> (weights: Float, biases: Float) {
    switch self {
    case .uniform:
      let bound = 1 / Float(inputCount).squareRoot()
      return (bound, bound)
    case .he: return ((6 / Float(inputCount)).squareRoot(), 0)
    case .glorot: return ((6 / Float(inputCount + outputCount)).squareRoot(), 0)
    }
  }
}

/// Fills `values` with numbers uniform in [−bound, bound): element *e* is that of (`tensor`, `first` + *e*) in `random`.
func drawUniform(
  _ values: UnsafeMutableBufferPointer<Float>, bound: Float, from random: Philox, tensor: Int, first: Int = 0
) {
  guard bound != 0 else { return values.update(repeating: 0) }
  let end = first + values.count
  for quad in first / 4..<(end + 3) / 4 {
    let words = random.words(quad: quad, tensor: tensor)
    for lane in max(0, first - 4 * quad)..<min(4, end - 4 * quad) {
      // 24 random bits to [−1, 1), exact in fp32: the only rounding is that of the product.
      let unit = Float(words[lane] >> 8) * 0x1p-23 - 1
      values[4 * quad + lane - first] = unit * bound
    }
  }
}
