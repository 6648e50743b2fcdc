// The three products of a linear layer. All matrices are row-major; the result's previous contents are read only if the product
// is added to them. A stride is the distance from one row to the next if a matrix is a block of columns of a larger one.

/// result = a · bᵀ, where a is rows × inner and b is columns × inner.
func multiplyByTransposed(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rowCount: Int, columnCount: Int, innerCount: Int,
  bStride: Int? = nil, into result: UnsafeMutablePointer<Float>, isAdding: Bool = false
) {
  BLAS.shared.sgemm(
    BLAS.rowMajor, BLAS.asItIs, BLAS.transposed, CInt(rowCount), CInt(columnCount), CInt(innerCount), 1, a, CInt(innerCount), b,
    CInt(bStride ?? innerCount), isAdding ? 1 : 0, result, CInt(columnCount))
}

/// result = a · b, where a is rows × inner and b is inner × columns.
func multiply(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rowCount: Int, columnCount: Int, innerCount: Int,
  bStride: Int? = nil, into result: UnsafeMutablePointer<Float>
) {
  BLAS.shared.sgemm(
    BLAS.rowMajor, BLAS.asItIs, BLAS.asItIs, CInt(rowCount), CInt(columnCount), CInt(innerCount), 1, a, CInt(innerCount), b,
    CInt(bStride ?? columnCount), 0, result, CInt(columnCount))
}

/// result = aᵀ · b, where a is inner × rows and b is inner × columns.
func multiplyTransposed(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rowCount: Int, columnCount: Int, innerCount: Int,
  into result: UnsafeMutablePointer<Float>, resultStride: Int? = nil
) {
  BLAS.shared.sgemm(
    BLAS.rowMajor, BLAS.transposed, BLAS.asItIs, CInt(rowCount), CInt(columnCount), CInt(innerCount), 1, a, CInt(rowCount), b,
    CInt(columnCount), 0, result, CInt(resultStride ?? columnCount))
}
