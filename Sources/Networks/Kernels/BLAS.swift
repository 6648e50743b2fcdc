internal import Buffers
internal import CDNN

#if canImport(Glibc)
  internal import Glibc
#endif

/// The part of OpenBLAS that is used here.
///
/// It is loaded for the first product, not with the program: on loading it starts a thread per core, and each takes memory,
/// retrying for ever if a limit on addresses prevents it (OpenBLAS 0.3.21). So it starts with one thread, and what it needs can
/// be requested beforehand (``prepareBLAS(threads:)``).
struct BLAS: @unchecked Sendable {
  typealias SGEMM =
    @convention(c) (
      _ order: CInt, _ transA: CInt, _ transB: CInt, _ m: CInt, _ n: CInt, _ k: CInt, _ alpha: Float, _ a: UnsafePointer<Float>,
      _ lda: CInt, _ b: UnsafePointer<Float>, _ ldb: CInt, _ beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: CInt
    ) -> Void
  typealias SSYRK =
    @convention(c) (
      _ order: CInt, _ triangle: CInt, _ transA: CInt, _ n: CInt, _ k: CInt, _ alpha: Float, _ a: UnsafePointer<Float>,
      _ lda: CInt, _ beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: CInt
    ) -> Void

  /// The matrix product, `cblas_sgemm`.
  let sgemm: SGEMM
  /// A matrix times itself, `cblas_ssyrk`.
  let ssyrk: SSYRK
  /// `openblas_set_num_threads`.
  let setThreadCount: @convention(c) (CInt) -> Void
  /// `openblas_get_corename`.
  let kernelName: @convention(c) () -> UnsafePointer<CChar>

  /// The values of the enumerations in `cblas.h`.
  static let (rowMajor, asItIs, transposed, upper): (CInt, CInt, CInt, CInt) = (101, 111, 112, 121)

  /// The memory that each thread takes for its part of a product, with its stack.
  static let bytesOfThread = (128 + 8) << 20

  /// The library, for callers that have prepared it or know that it is available.
  static let shared: BLAS = {
    do { return try loaded.get() } catch { fatalError("\(error)") }
  }()

  /// The library, or why it cannot be loaded.
  static let loaded = Result<BLAS, any Error> { try BLAS() }

  /// The size of the library, with its kernel tables.
  private static let byteCount = 48 << 20

  private init() throws {
    try MemoryLimit.require(BLAS.byteCount, for: "OpenBLAS")
    let name = "OPENBLAS_NUM_THREADS"
    let before = getenv(name).map { String(cString: $0) }
    setenv(name, "1", 1)
    defer { if let before { setenv(name, before, 1) } else { unsetenv(name) } }
    guard let library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL) else {
      throw BLASError("OpenBLAS cannot be loaded: \(String(cString: dlerror()))")
    }
    func symbol(_ name: String) throws(BLASError) -> UnsafeMutableRawPointer {
      guard let address = dlsym(library, name) else {
        throw BLASError("libopenblas.so.0 has no \(name): it is not OpenBLAS, or a build without CBLAS")
      }
      return address
    }
    sgemm = try unsafeBitCast(symbol("cblas_sgemm"), to: SGEMM.self)
    ssyrk = try unsafeBitCast(symbol("cblas_ssyrk"), to: SSYRK.self)
    setThreadCount = try unsafeBitCast(symbol("openblas_set_num_threads"), to: (@convention(c) (CInt) -> Void).self)
    kernelName = try unsafeBitCast(
      symbol("openblas_get_corename"), to: (@convention(c) () -> UnsafePointer<CChar>).self)
  }
}

/// Why there are no matrix products, in one sentence without a full stop.
public struct BLASError: Error, CustomStringConvertible, Sendable {
  public let description: String
  init(_ description: String) { self.description = description }
}

/// Loads the BLAS, and allocates the memory that products by `count` threads need, so that none can fail later.
///
/// - Throws: `BLASError` or `OutOfMemory` if that is impossible; what was requested is then not kept.
public func prepareBLAS(threads count: Int) throws {
  let blas = try BLAS.loaded.get()
  let byteCount = count * BLAS.bytesOfThread
  try MemoryLimit.require(byteCount, for: count == 1 ? "the BLAS" : "the BLAS with \(count) threads")
  setBLASThreads(count)
  // The smallest product that uses this thread's memory; the other threads have already taken theirs.
  var result: Float = 0
  blas.ssyrk(BLAS.rowMajor, BLAS.upper, BLAS.asItIs, 1, 1, 1, [1], 1, 0, &result, 1)
}

/// Sets the number of threads of the BLAS and of oneDNN; 1, as at the start, is right whenever ranks share a machine.
///
/// Takes effect at once, in this process. With one thread, the same product has the same bits every time.
public func setBLASThreads(_ count: Int) {
  require(count > 0, "the BLAS needs at least one thread, not \(count)")
  BLAS.shared.setThreadCount(CInt(count))
  CDNN_set_threads(CInt(count))
}

/// The processor family whose kernels the BLAS runs, for example `SkylakeX` or `Haswell`.
public var blasKernelName: String { String(cString: BLAS.shared.kernelName()) }
