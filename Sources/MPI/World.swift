internal import CMPI

#if canImport(Glibc)
  internal import Glibc
#endif

/// Runs `body` as one rank of the job and returns its result.
///
/// MPI is started before `body` and ended after it; without a launcher such as `mpirun`, the world has one rank and MPI is not
/// started at all unless an operation needs it. An error that `body` throws is printed with the rank and ends all ranks,
/// because others may be waiting for this one: with status 70, or with the one that the error chooses
/// (``ExitStatusProviding``).
///
/// Call it once per process; calls within it or after it end the job with an error message. If the launcher started several
/// tasks and each would be alone in its world (`srun` without PMIx, the launcher of another MPI), none runs `body`: all end
/// with status 64, and task 0 reports this in one sentence.
///
/// ```swift
/// @main struct Hello {
///   static func main() { withMPI { world in print("\(world.rank) of \(world.count)") } }
/// }
/// ```
///
/// A program with its own exit status, such as for wrong usage, returns it on all ranks:
/// `exit(withMPI { world in … })`. The ranks then end normally, and `mpirun -q` adds no message of its own.
///
/// The corresponding C functions are `MPI_Init_thread`, `MPI_Finalize` and `MPI_Abort`.
///
/// - Parameters:
///   - threads: which threads will call MPI; a library that provides less is an error.
///   - body: the program.
/// - Returns: the result of `body`.
public func withMPI<Result>(threads: ThreadLevel = .serialized, _ body: (Communicator) throws -> Result) -> Result {
  do {
    try Runtime.enter()
    let result = try body(try Communicator.startWorld(threads: threads))
    reportDroppedRequests()
    try Runtime.finish()
    return result
  } catch let error as LoneTask {
    Launcher.end(with: error)
  } catch {
    Runtime.report("\(error)")
    Runtime.abort(status: (error as? any ExitStatusProviding)?.exitStatus ?? 70)
  }
}

/// Reports requests that the program started and did not wait for.
private func reportDroppedRequests() {
  let count = AbandonedRequests.droppedCount
  guard count > 0 else { return }
  Runtime.report(
    "\(count == 1 ? "a request was" : "\(count) requests were") dropped before wait(): what they began was given up")
}

/// The version string of the MPI library, on one line.
///
/// Available before MPI is started.
///
/// The corresponding C function is `MPI_Get_library_version`.
public var libraryVersion: String {
  var characters = [CChar](repeating: 0, count: Int(MPI_MAX_LIBRARY_VERSION_STRING) + 1)
  var length: CInt = 0
  guard MPI_Get_library_version(&characters, &length) == MPI_SUCCESS else { return "unknown" }
  let bytes = characters.prefix(Int(length)).prefix { $0 != 0 && $0 != 10 }
  return String(decoding: bytes.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Seconds since an arbitrary time in the past, for differences between two calls on the same rank.
///
/// Reads the monotonic clock of the host, as MPI's own clock does; needs no MPI.
/// The corresponding C function is `MPI_Wtime`.
public var wallTime: Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

extension Communicator {
  /// The world of this process: all ranks of the job, or one rank when no launcher started it.
  ///
  /// It is an error if a task is alone in its world although others were started with it.
  package static func startWorld(threads: ThreadLevel = .serialized) throws -> Communicator {
    Runtime.request(threads: threads)
    guard Runtime.isLaunched else {
      try Launcher.check(rankCount: 1)
      return Communicator()
    }
    try Runtime.start()
    let world = try Communicator(borrowing: CMPI_COMM_WORLD())
    try Launcher.check(rankCount: world.count)
    return world
  }

  /// Ends all ranks of the job at once with `status`; does not return.
  ///
  /// The corresponding C function is `MPI_Abort`.
  public func abort(status: Int32) -> Never { Runtime.abort(status: status) }
}
