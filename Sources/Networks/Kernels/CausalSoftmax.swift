// The softmax of a row over the positions up to its own: those after it have weight 0.

/// Replaces a row of scores by their softmax.
///
/// - Parameters:
///   - row: `count` values.
///   - live: Those in use, the first ones; the others are set to 0.
///   - count: At least `live`.
package func causalSoftmax(_ row: UnsafeMutablePointer<Float>, live: Int, count: Int) {
  let whole = live & ~15
  let rest = live - whole
  var maxima = Lanes(repeating: -.infinity)
  var index = 0
  while index < whole {
    let values = Lanes(at: row + index)
    maxima.replace(with: values, where: values .> maxima)
    index += 16
  }
  let last = Lanes(at: row + whole, count: rest, padding: -.infinity)
  maxima.replace(with: last, where: last .> maxima)
  // NaN is no maximum, but its term is NaN; so is that of an infinite maximum.
  let maximum = maxima.max()
  let factor = 1 / exponentialSum(row, live, maximum, storingInto: row)
  index = 0
  while index < whole {
    (Lanes(at: row + index) * factor).store(at: row + index)
    index += 16
  }
  for index in whole..<live { row[index] *= factor }
  (row + live).update(repeating: 0, count: count - live)
}

/// Replaces the gradient of a row of weights by `scale` times that of the scores: weight · (gradient − Σ gradient · weight).
///
/// - Parameters:
///   - gradient: `count` values.
///   - weights: What `causalSoftmax` made of the row.
///   - live: The positions in use; the others are set to 0.
func differentiateCausalSoftmax(
  _ gradient: UnsafeMutablePointer<Float>, weights: UnsafePointer<Float>, live: Int, count: Int, scale: Float
) {
  let whole = live & ~15
  let rest = live - whole
  var sums = Lanes.zero
  var index = 0
  while index < whole {
    sums += Lanes(at: gradient + index) * Lanes(at: weights + index)
    index += 16
  }
  sums += Lanes(at: gradient + whole, count: rest, padding: 0) * Lanes(at: weights + whole, count: rest, padding: 0)
  let sum = sums.total
  index = 0
  while index < whole {
    (Lanes(at: weights + index) * (Lanes(at: gradient + index) - sum) * scale).store(at: gradient + index)
    index += 16
  }
  for index in whole..<live { gradient[index] = weights[index] * (gradient[index] - sum) * scale }
  (gradient + live).update(repeating: 0, count: count - live)
}
