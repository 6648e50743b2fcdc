internal import CMPI
internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#endif

/// A group of ranks that communicate with one another, separate from all other groups.
///
/// In a world of one rank that no launcher started, a communicator is *local*: its collective operations need no MPI. Messages
/// of the rank to itself do, and start MPI.
///
/// It may be shared among threads as the thread level allows: at ``ThreadLevel/serialized``, one thread at a time calls it. The
/// handle inside never changes.
public final class Communicator: @unchecked Sendable {
  /// The number of this process in the group, from 0.
  public let rank: Int
  /// The number of processes in the group.
  public let count: Int

  /// MPI's handle; nil in a local communicator.
  private let stored: MPI_Comm?
  private let isOwned: Bool

  private struct Handle: @unchecked Sendable { var raw: MPI_Comm? }
  /// The handle of a local communicator, once an operation has needed one.
  private let late = Mutex(Handle())

  /// A communicator of this process alone, which does not need MPI yet.
  init() {
    rank = 0
    count = 1
    stored = nil
    isOwned = true
  }

  /// Wraps a handle that is freed elsewhere.
  convenience init(borrowing handle: MPI_Comm) throws { try self.init(handle, isOwned: false) }

  /// Takes ownership of a handle and frees it at the end.
  convenience init(owning handle: MPI_Comm) throws { try self.init(handle, isOwned: true) }

  private init(_ handle: MPI_Comm, isOwned: Bool) throws {
    var rank: CInt = 0
    var count: CInt = 0
    try check(MPI_Comm_rank(handle, &rank), "MPI_Comm_rank")
    try check(MPI_Comm_size(handle, &count), "MPI_Comm_size")
    self.rank = Int(rank)
    self.count = Int(count)
    stored = handle
    self.isOwned = isOwned
  }

  deinit {
    // After MPI has ended, nothing is left to free.
    guard isOwned, Runtime.isRunning else { return }
    var handle = stored ?? late.withLock { $0 }.raw
    if handle != nil { _ = MPI_Comm_free(&handle) }
  }

  /// MPI's handle; nil in a local communicator.
  ///
  /// Throws after MPI has ended, as do the next two.
  @inline(__always)
  var backing: MPI_Comm? {
    get throws {
      try Runtime.requireOpen("Communicator")
      return stored
    }
  }

  /// Whether the operations of this communicator need no MPI.
  @inline(__always)
  var isLocal: Bool { get throws { try backing == nil } }

  /// MPI's handle; starts MPI if a local communicator needs it.
  @inline(__always)
  var handle: MPI_Comm { get throws { try backing ?? lateHandle() } }

  @inline(never)
  private func lateHandle() throws -> MPI_Comm {
    try late.withLock { late in
      if late.raw == nil {
        try Runtime.start()
        try check(MPI_Comm_dup(CMPI_COMM_SELF(), &late.raw), "MPI_Comm_dup")
      }
      return late
    }.raw!
  }

  /// The name of the host this rank runs on.
  ///
  /// The corresponding C function is `MPI_Get_processor_name`.
  public var processorName: String {
    var characters = [CChar](repeating: 0, count: max(Int(MPI_MAX_PROCESSOR_NAME), 256) + 1)
    var length: CInt = 0
    if Runtime.isRunning, MPI_Get_processor_name(&characters, &length) == MPI_SUCCESS {
      return String(decoding: characters.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    gethostname(&characters, characters.count - 1)
    return String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
