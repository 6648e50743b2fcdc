internal import Buffers

/// AdaDelay with a c for each value: gradient t, which is τ pushes old, moves value j by η·g_j/(L + c·c_j·√(t + τ)) with
/// c_j = √(1/t·Σ_s s/(s + τ_s)·g_j(s)²) over the pushes s up to t.
///
/// A value whose gradients are small moves as far as one whose gradients are large, and gradients that were old when they came count
/// less in c_j; without any gradient yet c_j is 0, and the rate η/L. With τ = 0 it is η/(L + c·√Σg²): AdaGrad with L in place of ε.
/// Source: Sra et al. 2016, "AdaDelay: delay adaptive distributed stochastic optimization"; algorithms §7.2.
struct AdaDelayValues {
  /// L, above 0.
  let l: Float
  /// The factor of all c_j.
  let c: Double

  /// Divides a gradient by the rates of its values, and adds it to their sums.
  ///
  /// - Parameters:
  ///   - gradient: g, replaced by g_j/(L + c·c_j·√(t + τ)).
  ///   - sums: Σ_s s/(s + τ_s)·g_j(s)², which this gradient enters; no more than the largest number.
  ///   - count: The number of values.
  ///   - staleness: τ.
  ///   - number: t, 1 or more.
  func divide(
    _ gradient: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Float>, count: Int, staleness: Int, number: Int
  ) {
    let (t, late) = (Double(number), Double(number + staleness))
    let weight = Float(t / late)
    // c·√((t + τ)/t): √Σ is finite, and so is the product.
    let (l, factor) = (l, Float(c * (late / t).squareRoot()))
    for index in 0..<count {
      let g = gradient[index]
      let sum = min(sums[index] + weight * (g * g), .greatestFiniteMagnitude)
      sums[index] = sum
      gradient[index] = g / (l + factor * sum.squareRoot())
    }
  }
}
