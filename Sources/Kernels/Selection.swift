internal import Buffers
internal import CKernels

/// Copies the values whose magnitude, as a bit pattern, is at least `key` (which is at least 1), with their indices.
///
/// Both are in order; indices are counted from `first`. There must be room for `count` of each and 16 more.
///
/// - Returns: The number of values copied.
package func selectAtLeast(
  _ values: UnsafePointer<Float>, count: Int, key: UInt32, first: UInt32, indices: UnsafeMutablePointer<UInt32>,
  selected: UnsafeMutablePointer<Float>
) -> Int {
  if let kernels = ck_table() { return kernels.pointee.select_at_least(values, count, key, first, indices, selected) }
  return Portable.selectAtLeast(values, count, key, first, indices, selected)
}

/// Sets `values` to (gradient + factor · residual) + 0.0, each operation rounded once.
package func addResidual(
  _ gradient: UnsafePointer<Float>, _ residual: UnsafePointer<Float>, times factor: Float, count: Int,
  into values: UnsafeMutablePointer<Float>
) {
  if let kernels = ck_table() { return kernels.pointee.add_residual(gradient, residual, factor, count, values) }
  for i in 0..<count { values[i] = (gradient[i] + factor * residual[i]) + 0.0 }
}

/// A limit that a number of values in `range` reach in magnitude, as a bit pattern without the sign; if there is none, because
/// values are equal there, the largest that at least `range.lowerBound` of them reach.
///
/// `range.lowerBound` is at most `count`.
///
/// - Returns: The pattern, and the number of values that reach it.
/// - Cost: At most 31 counts over the values, fewer the wider the range.
package func magnitudeLimit(
  of values: UnsafePointer<Float>, count: Int, reachedBy range: ClosedRange<Int>
) -> (key: UInt32, count: Int) {
  require(range.lowerBound <= count, "\(range.lowerBound) of \(count) values")
  guard let kernels = ck_table() else { return Portable.magnitudeLimit(of: values, count, range) }
  var found = 0
  let key = kernels.pointee.magnitude_limit(values, count, range.lowerBound, range.upperBound, &found)
  return (key, found)
}

/// The threshold of the `k` largest magnitudes; nil if at most k values are nonzero.
///
/// It is the smallest bit pattern without the sign among them, and the number of values of exactly this pattern among them.
package func largestPatterns(
  of values: UnsafePointer<Float>, count: Int, k: Int
) -> (key: UInt32, tieCount: Int)? { Portable.threshold(of: values, count, k: k) }
