internal import CKernels

/// Copies the values whose magnitude, as a pattern of bits, is `key` (at least 1) or more, and their indices, counted from `first`, in
/// order; returns how many.
///
/// There is room for `count` of each and 16 beyond.
package func selectAtLeast(
  _ values: UnsafePointer<Float>, count: Int, key: UInt32, first: UInt32, indices: UnsafeMutablePointer<UInt32>,
  selected: UnsafeMutablePointer<Float>
) -> Int {
  if let kernels = ck_table() { return kernels.pointee.select_at_least(values, count, key, first, indices, selected) }
  return Portable.selectAtLeast(values, count, key, first, indices, selected)
}

/// Where the `k` largest magnitudes begin: the least pattern of bits without the sign that is among them, and how many values of
/// exactly this pattern are; nil if there are no more than k values that are not zero.
package func largestPatterns(
  of values: UnsafePointer<Float>, count: Int, k: Int
) -> (key: UInt32, tieCount: Int)? { Portable.threshold(of: values, count, k: k) }
