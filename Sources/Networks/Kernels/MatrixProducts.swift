internal import CBLAS

/// Sets how many threads the BLAS computes with; 1 is right wherever ranks share a machine.
///
/// Takes effect at once, in this process. With one thread the same product has the same bits every time.
public func setBLASThreads(_ count: Int) {
  precondition(count > 0, "the BLAS needs at least one thread, not \(count)")
  openblas_set_num_threads(CInt(count))
}

/// The processor family whose kernels the BLAS runs, for example `SkylakeX` or `Haswell`.
public var blasKernelName: String { unsafe String(cString: openblas_get_corename()) }

// The three products of a linear layer. All matrices are row-major; what the result held is not read unless the product is added
// to it. A stride is the distance from one row to the next where a matrix is a block of columns of a larger one.

/// result = a · bᵀ, where a is rows × inner and b is columns × inner.
func multiplyByTransposed(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rowCount: Int, columnCount: Int, innerCount: Int,
  bStride: Int? = nil, into result: UnsafeMutablePointer<Float>, isAdding: Bool = false
) {
  unsafe cblas_sgemm(
    CblasRowMajor, CblasNoTrans, CblasTrans, CInt(rowCount), CInt(columnCount), CInt(innerCount), 1, a, CInt(innerCount), b,
    CInt(bStride ?? innerCount), isAdding ? 1 : 0, result, CInt(columnCount))
}

/// result = a · b, where a is rows × inner and b is inner × columns.
func multiply(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rowCount: Int, columnCount: Int, innerCount: Int,
  bStride: Int? = nil, into result: UnsafeMutablePointer<Float>
) {
  unsafe cblas_sgemm(
    CblasRowMajor, CblasNoTrans, CblasNoTrans, CInt(rowCount), CInt(columnCount), CInt(innerCount), 1, a, CInt(innerCount), b,
    CInt(bStride ?? columnCount), 0, result, CInt(columnCount))
}

/// result = aᵀ · b, where a is inner × rows and b is inner × columns.
func multiplyTransposed(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, rowCount: Int, columnCount: Int, innerCount: Int,
  into result: UnsafeMutablePointer<Float>, resultStride: Int? = nil
) {
  unsafe cblas_sgemm(
    CblasRowMajor, CblasTrans, CblasNoTrans, CInt(rowCount), CInt(columnCount), CInt(innerCount), 1, a, CInt(rowCount), b,
    CInt(columnCount), 0, result, CInt(resultStride ?? columnCount))
}
