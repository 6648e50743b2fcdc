internal import Buffers

#if canImport(Glibc)
  internal import Glibc
#endif

/// OpenBLAS, as far as it is used here.
///
/// It is loaded when the first product needs it, and not with the program: as it is loaded it starts a thread for each core, and each
/// takes memory, for which it tries for ever where a limit of addresses stands in the way (OpenBLAS 0.3.21). So it begins with one
/// thread, and what it needs can be asked for before (``prepareBLAS(threads:)``).
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

  /// The numbers that `cblas.h` gives to its enumerations.
  static let (rowMajor, asItIs, transposed, upper): (CInt, CInt, CInt, CInt) = (101, 111, 112, 121)

  /// The memory that each thread takes for its part of a product, with its stack.
  static let bytesOfThread = (128 + 8) << 20

  /// The library, for those who have prepared it or know that it is there.
  static let shared: BLAS = {
    do { return try loaded.get() } catch { preconditionFailure("\(error)") }
  }()

  /// The library, or why it cannot be loaded.
  static let loaded = Result<BLAS, any Error> { try BLAS() }

  /// Its size, with its tables of kernels.
  private static let byteCount = 48 << 20

  private init() throws {
    try MemoryLimit.require(BLAS.byteCount, for: "OpenBLAS")
    let name = "OPENBLAS_NUM_THREADS"
    let before = unsafe getenv(name).map { unsafe String(cString: $0) }
    setenv(name, "1", 1)
    defer { if let before { setenv(name, before, 1) } else { unsetenv(name) } }
    guard let library = unsafe dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL) else {
      throw BLASError("OpenBLAS cannot be loaded: \(unsafe String(cString: dlerror()))")
    }
    func symbol(_ name: String) throws(BLASError) -> UnsafeMutableRawPointer {
      guard let address = unsafe dlsym(library, name) else {
        throw BLASError("libopenblas.so.0 has no \(name): it is not OpenBLAS, or a build without CBLAS")
      }
      return unsafe address
    }
    sgemm = try unsafe unsafeBitCast(symbol("cblas_sgemm"), to: SGEMM.self)
    ssyrk = try unsafe unsafeBitCast(symbol("cblas_ssyrk"), to: SSYRK.self)
    setThreadCount = try unsafe unsafeBitCast(symbol("openblas_set_num_threads"), to: (@convention(c) (CInt) -> Void).self)
    kernelName = try unsafe unsafeBitCast(
      symbol("openblas_get_corename"), to: (@convention(c) () -> UnsafePointer<CChar>).self)
  }
}

/// Why there are no matrix products, in one sentence without a full stop.
public struct BLASError: Error, CustomStringConvertible, Sendable {
  public let description: String
  init(_ description: String) { self.description = description }
}

/// Loads the BLAS, and takes the memory that products by `count` threads need, so that none can fail later.
///
/// - Throws: `BLASError` or `OutOfMemory` where that is impossible; what was asked for is not kept then.
public func prepareBLAS(threads count: Int) throws {
  let blas = try BLAS.loaded.get()
  let byteCount = count * BLAS.bytesOfThread
  try MemoryLimit.require(byteCount, for: count == 1 ? "the BLAS" : "the BLAS with \(count) threads")
  setBLASThreads(count)
  // The smallest product that works in this thread's memory; the other threads have taken theirs.
  var result: Float = 0
  unsafe blas.ssyrk(BLAS.rowMajor, BLAS.upper, BLAS.asItIs, 1, 1, 1, [1], 1, 0, &result, 1)
}

/// Sets how many threads the BLAS computes with; 1, as at the start, is right wherever ranks share a machine.
///
/// Takes effect at once, in this process. With one thread the same product has the same bits every time.
public func setBLASThreads(_ count: Int) {
  precondition(count > 0, "the BLAS needs at least one thread, not \(count)")
  BLAS.shared.setThreadCount(CInt(count))
}

/// The processor family whose kernels the BLAS runs, for example `SkylakeX` or `Haswell`.
public var blasKernelName: String { unsafe String(cString: BLAS.shared.kernelName()) }
