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

/// The threshold of the `k` largest magnitudes; nil if at most k values are nonzero.
///
/// It is the smallest bit pattern without the sign among them, and the number of values of exactly this pattern among them.
package func largestPatterns(
  of values: UnsafePointer<Float>, count: Int, k: Int
) -> (key: UInt32, tieCount: Int)? { Portable.threshold(of: values, count, k: k) }
