internal import Buffers
internal import CDNN

/// Matrix products by code that oneDNN generates for the processor; all matrices are row-major.
enum GeneratedProducts {
  /// result = a · b, or with aᵀ or bᵀ, of rows × inner and inner × columns; what was in the result is lost.
  static func multiply(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, transposingA: Bool = false, transposingB: Bool = false, rowCount: Int,
    columnCount: Int, innerCount: Int,
    into result: UnsafeMutablePointer<Float>
  ) {
    let status = CDNN_product(
      transposingA ? 1 : 0, transposingB ? 1 : 0, Int64(rowCount), Int64(columnCount), Int64(innerCount), a,
      Int64(transposingA ? rowCount : innerCount), b, Int64(transposingB ? innerCount : columnCount), result,
      Int64(columnCount))
    require(status == 0, "a product of oneDNN fails with status \(status)")
  }

  /// The threads of products and convolutions.
  static var threadCount: Int { Int(CDNN_threads()) }
}

/// The library that computes convolutions, the instruction set that it uses and its threads: `oneDNN 2.6.3, avx512_core, 1 thread`.
///
/// Two of the three differ: so do, in the last bits, the gradients of models with convolutions.
public var oneDNNDescription: String {
  var (major, minor, patch): (CInt, CInt, CInt) = (0, 0, 0)
  CDNN_version(&major, &minor, &patch)
  let threads = GeneratedProducts.threadCount
  return
    "oneDNN \(major).\(minor).\(patch), \(String(cString: CDNN_instruction_set())), \(threads) thread\(threads == 1 ? "" : "s")"
}
