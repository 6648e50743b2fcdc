internal import Buffers
internal import CDNN

/// Matrix products by code that oneDNN generates for the processor; all matrices are row-major.
///
/// With one number of threads on one machine, the same product has the same bits every time.
enum MatrixProducts {
  /// result = a · b, or with aᵀ or bᵀ, of rows × inner and inner × columns.
  ///
  /// - Parameters:
  ///   - a: The left factor, as it lies in memory: rows × inner, or inner × rows if it is transposed.
  ///   - b: The right factor: inner × columns, or columns × inner if it is transposed.
  ///   - aStride: The distance from one row of `a` to the next, if it is a block of columns of a larger matrix.
  ///   - bStride: That of `b`.
  ///   - scale: What the product is multiplied by.
  ///   - resultStride: That of the result.
  ///   - isAdding: Whether the product is added to the result, whose previous contents are not read otherwise.
  static func multiply(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, transposingA: Bool = false, transposingB: Bool = false, rowCount: Int,
    columnCount: Int, innerCount: Int, aStride: Int? = nil, bStride: Int? = nil, scale: Float = 1,
    into result: UnsafeMutablePointer<Float>, resultStride: Int? = nil, isAdding: Bool = false
  ) {
    let status = CDNN_product(
      transposingA ? 1 : 0, transposingB ? 1 : 0, Int64(rowCount), Int64(columnCount), Int64(innerCount), scale, a,
      Int64(aStride ?? (transposingA ? rowCount : innerCount)), b,
      Int64(bStride ?? (transposingB ? innerCount : columnCount)), isAdding ? 1 : 0, result, Int64(resultStride ?? columnCount))
    require(status == 0, "a product of oneDNN fails with status \(status)")
  }

  /// The memory that each thread takes for its part of a product, with its stack.
  static let bytesOfThread = (8 + 8) << 20
}

/// Prepares products and convolutions by `count` threads, so that none can fail later for want of memory.
///
/// - Throws: `OutOfMemory` if that is impossible.
public func prepareProducts(threads count: Int) throws {
  let owner = count == 1 ? "a matrix product" : "a matrix product by \(count) threads"
  try MemoryLimit.require(count * MatrixProducts.bytesOfThread, for: owner)
  setProductThreads(count)
  // Large enough that all threads start.
  let size = 64
  let matrix = FloatBuffer(count: size * size)
  let result = FloatBuffer(count: size * size)
  MatrixProducts.multiply(
    matrix.baseAddress, matrix.baseAddress, rowCount: size, columnCount: size, innerCount: size, into: result.baseAddress)
}

/// Sets the threads of products and convolutions; 1, as at the start, is right whenever ranks share a machine.
///
/// Takes effect at once, in this process.
public func setProductThreads(_ count: Int) {
  require(count > 0, "products need at least one thread, not \(count)")
  CDNN_set_threads(CInt(count))
}

/// The threads of products and convolutions.
var productThreadCount: Int { Int(CDNN_threads()) }

/// The instruction set that products and convolutions use, for example `avx512_core`; `any` for portable code.
public var productInstructionSet: String { String(cString: CDNN_instruction_set()) }

/// The library that computes products and convolutions, the instruction set that it uses and its threads:
/// `oneDNN 2.6.3, avx512_core, 1 thread`.
///
/// Where these differ, so do the last bits of gradients.
public var oneDNNDescription: String {
  var (major, minor, patch): (CInt, CInt, CInt) = (0, 0, 0)
  CDNN_version(&major, &minor, &patch)
  let threads = productThreadCount
  return "oneDNN \(major).\(minor).\(patch), \(productInstructionSet), \(threads) thread\(threads == 1 ? "" : "s")"
}
