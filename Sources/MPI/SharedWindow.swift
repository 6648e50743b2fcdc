internal import Buffers
internal import CMPI

#if canImport(Glibc)
  internal import Glibc
#endif

/// Memory shared by the ranks of one host: each owns a part, and all read and write all parts in place.
///
/// Loads and stores are ordinary; a ``SharedCounter`` shows when the stores of another rank may be read.
public final class SharedWindow: @unchecked Sendable {
  /// The number of bytes of this rank's part.
  public let byteCount: Int
  private var parts: [UnsafeMutableRawBufferPointer] = []
  private var window: MPI_Win?
  /// The memory of a single rank without MPI.
  private var plainMemory: UnsafeMutableRawPointer?
  /// Whether it has been freed.
  package private(set) var isFreed = false

  /// Allocates `byteCount` bytes for this rank, zeroed, on a page of their own.
  ///
  /// Collective over `host`. If any rank cannot have its part, all ranks throw, so that they can fall back together. A window
  /// is not freed with this object, because that is collective, but by ``free()`` or at the end of MPI. On one rank without MPI
  /// it is plain memory.
  /// The corresponding C function is `MPI_Win_allocate_shared`.
  ///
  /// - Parameters:
  ///   - host: ranks that share memory, as from ``Communicator/splitByHost()``.
  ///   - byteCount: what this rank needs; 0 is allowed, and ranks may differ.
  public init(on host: Communicator, byteCount: Int) throws {
    try require(byteCount >= 0, .argument, "a window cannot hold \(byteCount) bytes")
    self.byteCount = byteCount
    guard let communicator = try host.backing else {
      var memory: UnsafeMutableRawPointer?
      guard posix_memalign(&memory, Int(sysconf(CInt(_SC_PAGESIZE))), max(byteCount, 1)) == 0, let memory else {
        throw MPIError(operation: "MPI_Win_allocate_shared", text: "\(byteCount) bytes of memory are not to be had")
      }
      memset(memory, 0, max(byteCount, 1))
      plainMemory = memory
      parts = [UnsafeMutableRawBufferPointer(start: memory, count: byteCount)]
      return
    }
    try Self.requireSpace(on: host, byteCount: byteCount)

    let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))
    var info: MPI_Info?
    try check(MPI_Info_create(&info), "MPI_Info_create")
    defer { _ = MPI_Info_free(&info) }
    // Parts need not be contiguous, so that each may start on a page; Open MPI starts them somewhere within one, so each is a
    // page longer than needed. Every process maps pages to pages, so all find the same start.
    try check(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set")
    var mine: UnsafeMutableRawPointer?
    var made: MPI_Win?
    let code = withUnsafeMutablePointer(to: &mine) {
      MPI_Win_allocate_shared(MPI_Aint(byteCount + pageSize), 1, info, communicator, $0, &made)
    }
    // Every rank learns whether all ranks have their parts, and the parts of all.
    let codes = try host.allGather(code)
    if let failed = codes.first(where: { $0 != MPI_SUCCESS }) {
      throw MPIError(code: code == MPI_SUCCESS ? failed : code, operation: "MPI_Win_allocate_shared")
    }
    try check(MPI_Win_set_errhandler(made, CMPI_ERRORS_RETURN()), "MPI_Win_set_errhandler")
    let byteCounts = try host.allGather(byteCount)
    for rank in 0..<host.count {
      var size = MPI_Aint()
      var unit: CInt = 0
      var address: UnsafeMutableRawPointer?
      let code = withUnsafeMutablePointer(to: &address) { MPI_Win_shared_query(made, CInt(rank), &size, &unit, $0) }
      try check(code, "MPI_Win_shared_query")
      parts.append(UnsafeMutableRawBufferPointer(start: address?.alignedUp(toMultipleOf: pageSize), count: byteCounts[rank]))
    }
    if byteCount > 0 { memset(parts[host.rank].baseAddress!, 0, byteCount) }
    // Loads and stores belong to an access epoch, which lasts as long as the window.
    try check(MPI_Win_lock_all(CInt(MPI_MODE_NOCHECK), made), "MPI_Win_lock_all")
    try host.barrier()
    window = made
    Runtime.register(made!)
  }

  deinit { Glibc.free(plainMemory) }

  /// The part of `rank` (of the host's communicator), as mapped in this process.
  public func memory(of rank: Int) -> UnsafeMutableRawBufferPointer {
    requireOrStop(!isFreed, "a SharedWindow was used after free()")
    requireOrStop(window == nil || Runtime.isRunning, "a SharedWindow was used after the end of MPI, which freed it")
    requireOrStop(parts.indices.contains(rank), "there is no rank \(rank) among the \(parts.count) of this host")
    return parts[rank]
  }

  /// Frees the memory.
  ///
  /// Collective; no rank may use the memory any more.
  ///
  /// The corresponding C function is `MPI_Win_free`.
  public func free() throws {
    try require(!isFreed, .argument, "a SharedWindow was freed twice")
    // If MPI has ended, that has already freed it.
    if window != nil, Runtime.isRunning {
      Runtime.unregister(window!)
      try check(MPI_Win_unlock_all(window), "MPI_Win_unlock_all")
      try check(MPI_Win_free(&window), "MPI_Win_free")
    }
    window = nil
    Glibc.free(plainMemory)
    plainMemory = nil
    isFreed = true
    parts = []
  }

  /// The number of bytes still available to all windows on this host together, as the system reports it.
  package static var availableByteCount: Int {
    var available = Int.max
    var status = statvfs()
    if statvfs("/dev/shm", &status) == 0 { available = Int(status.f_bavail) * Int(status.f_frsize) }
    // To the system the memory is a file, so the limit on file sizes applies, too.
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0 {
      available = min(available, Int(clamping: limit.rlim_cur))
    }
    return available
  }

  /// Throws on all ranks if the host's shared memory, or the address space of a rank, has no room for all parts.
  ///
  /// Checked before MPI is called: Open MPI 4.1 would leave the other ranks waiting if the first one cannot create the file,
  /// and a file larger than its file system ends the process at the first access.
  private static func requireSpace(on host: Communicator, byteCount: Int) throws {
    let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))
    let needed = try host.allReduce((byteCount + pageSize - 1) / pageSize * pageSize + 2 * pageSize, .sum)
    let available = availableByteCount
    guard try host.allReduce(available, .min) >= needed else {
      throw MPIError(
        operation: "MPI_Win_allocate_shared",
        text: "the ranks of this host need \(needed) bytes of shared memory, \(available) are to be had in /dev/shm")
    }
    // Every rank maps all parts.
    guard try host.allReduce(MemoryLimit.allows(byteCount: needed) ? 1 : 0, .min) == 1 else {
      throw MPIError(
        operation: "MPI_Win_allocate_shared",
        text: "a rank of this host cannot map the \(needed) bytes that it shares with the others"
          + (MemoryLimit.tightest.map { ": \($0.sentence)" } ?? ""))
    }
  }
}
