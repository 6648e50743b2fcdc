internal import Buffers
internal import Foundation

/// Draws from a gamma distribution of scale 1, as logarithms, because small shapes give numbers that no float can hold.
///
/// Source: Marsaglia & Tsang 2000, "A simple method for generating gamma variables"; for shapes below 1, the variable of shape
/// α + 1 times u^(1/α).
struct GammaDistribution {
  private let shape: Double
  private let random: Philox
  private var next = 0

  /// Draws of shape `shape`, above 0; streams are independent.
  init(_ shape: Double, seed: UInt64, stream: Int) {
    self.shape = shape
    random = Philox(seed: seed, purpose: .clientPartition, step: 1 + stream)
  }

  /// The logarithm of the next draw.
  mutating func nextLogarithm() -> Double {
    let boost = shape < 1 ? log(uniform()) / shape : 0
    let d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
      let normal = normal()
      let v = 1 + c * normal
      guard v > 0 else { continue }
      let cube = v * v * v
      if log(uniform()) < 0.5 * normal * normal + d - d * cube + d * log(cube) { return log(d * cube) + boost }
    }
  }

  /// A number in (0, 1).
  private mutating func uniform() -> Double {
    let words = random.words(quad: next)
    next += 1
    return (Double(UInt64(words[0]) << 20 | UInt64(words[1]) >> 12) + 0.5) * 0x1p-52
  }

  /// A draw of the standard normal distribution, by Box and Muller.
  private mutating func normal() -> Double { (-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform()) }
}
