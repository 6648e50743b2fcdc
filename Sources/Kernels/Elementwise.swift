internal import Buffers
internal import CKernels

/// Makes streamed values visible to others before this thread's next stores.
///
/// Streaming stores bypass the cache and the usual order of stores. This thread may read its values at any time; it calls this
/// once before it signals to another thread or rank that they are there. A call for every group would halve the speed.
public func finishStreaming() { ck_finish_streaming() }

/// Copies `count` values.
///
/// With `streaming`, nothing reads them soon: stores may bypass the cache, and the caller calls ``finishStreaming()`` before
/// others read them.
public func copy(
  _ source: UnsafePointer<Float>, count: Int, to values: UnsafeMutablePointer<Float>, streaming: Bool = false
) {
  if streaming, let kernels = ck_table() { return kernels.pointee.copy_streaming(source, count, values) }
  values.update(from: source, count: count)
}

/// Adds `other` to `values`.
public func add(_ other: UnsafePointer<Float>, count: Int, to values: UnsafeMutablePointer<Float>) {
  if let kernels = ck_table() { return kernels.pointee.add(other, count, values) }
  Portable.add(other, count, values)
}

/// Sets `values` to minuends − subtrahends.
public func subtract(
  _ minuends: UnsafePointer<Float>, _ subtrahends: UnsafePointer<Float>, count: Int, into values: UnsafeMutablePointer<Float>
) {
  if let kernels = ck_table() { return kernels.pointee.subtract(minuends, subtrahends, count, values) }
  for i in 0..<count { values[i] = minuends[i] - subtrahends[i] }
}

/// Adds `factor` · `other` to `values`; each product and sum is rounded separately.
public func add(_ factor: Float, times other: UnsafePointer<Float>, count: Int, to values: UnsafeMutablePointer<Float>) {
  if let kernels = ck_table() { return kernels.pointee.add_scaled(factor, other, count, values) }
  for i in 0..<count { values[i] += factor * other[i] }
}

/// The inner product of `a` and `b` in fp32, with the same bits on every processor.
///
/// It is taken over 32 lanes (lane l adds the products l, l + 32, …) that are combined by halves.
public func innerProduct(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
  if let kernels = ck_table() { return kernels.pointee.inner_product(a, b, count) }
  return Portable.innerProduct(a, b, count)
}

/// Multiplies `values` by `factor`.
public func multiply(_ values: UnsafeMutableBufferPointer<Float>, by factor: Float) {
  guard let base = values.baseAddress else { return }
  let raw = UnsafeMutableRawPointer(base)
  let whole = values.count / 16 * 16
  for i in stride(from: 0, to: whole, by: 16) {
    let x = raw.loadUnaligned(fromByteOffset: 4 * i, as: SIMD16<Float>.self)
    raw.storeBytes(of: x * factor, toByteOffset: 4 * i, as: SIMD16<Float>.self)
  }
  for i in whole..<values.count { base[i] *= factor }
}

/// Sets `values` to terms[0] + terms[1] + … in this order, in fp32; `streaming` as in ``copy(_:count:to:streaming:)``.
public func orderedSum(
  _ terms: UnsafePointer<UnsafePointer<Float>>, termCount: Int, count: Int, into values: UnsafeMutablePointer<Float>,
  streaming: Bool = false
) {
  require(termCount > 0, "a sum needs a term")
  if let kernels = ck_table() { return kernels.pointee.sum(terms, termCount, count, values, streaming) }
  Portable.sum(terms, termCount, count, values)
}

/// Whether every magnitude is at most `limit`; a NaN exceeds every limit.
///
/// The default leaves room for sums over a group and over ranks to stay finite.
public func allFinite(_ values: UnsafePointer<Float>, count: Int, limit: Float = 0x1p100) -> Bool {
  // Magnitudes are ordered like their bit patterns, and those of infinities and NaN come last.
  if let kernels = ck_table() { return kernels.pointee.largest_magnitude(values, count) <= limit.bitPattern }
  return Portable.largestMagnitude(values, count) <= limit.bitPattern
}

/// The sum of squares in fp64, with the same bits on every processor.
///
/// It is taken over 32 lanes (lane l adds the elements l, l + 32, …) that are combined by halves.
public func sumOfSquares(_ values: UnsafePointer<Float>, count: Int) -> Double {
  if let kernels = ck_table() { return kernels.pointee.sum_of_squares(values, count) }
  return Portable.sumOfSquares(values, count)
}
