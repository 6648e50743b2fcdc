internal import Buffers
internal import CMPI
internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#endif

/// The state of MPI in this process: it is started once and ended once.
package enum Runtime {
  private enum Phase { case idle, running, ended }

  private struct State: @unchecked Sendable {
    var phase = Phase.idle
    var threads = ThreadLevel.serialized
    /// The level that MPI provides, once it runs.
    var provided = ThreadLevel.single
    /// False if another library in the process had started MPI: that library also ends it.
    var isOurs = false
    /// Freed in order of creation, which is the same on all ranks.
    var windows: [MPI_Win?] = []
  }

  private static let state = Mutex(State())
  private static let running = Atomic<Bool>(false)
  private static let ended = Atomic<Bool>(false)
  private static let entered = Atomic<Bool>(false)
  private static let tagBound = Atomic<Int>(Int(Int32.max))

  /// Whether a launcher started this process as one rank of a job.
  package static var isLaunched: Bool { Launcher.isKnownToMPI }

  /// Whether MPI functions may be called now.
  static var isRunning: Bool { running.load(ordering: .acquiring) }

  /// Whether MPI's error descriptions can be queried: at any other time MPI would end the process.
  static var canDescribeErrors: Bool {
    var isStarted: CInt = 0
    var isEnded: CInt = 0
    return MPI_Initialized(&isStarted) == MPI_SUCCESS && isStarted != 0 && MPI_Finalized(&isEnded) == MPI_SUCCESS
      && isEnded == 0
  }

  /// The largest tag of a message; until MPI has started, its actual limit may be lower.
  static var largestTag: Int { tagBound.load(ordering: .relaxed) }

  /// Throws after MPI has ended, or after the world has in a process that never started MPI: MPI would end the process.
  @inline(__always)
  static func requireOpen(_ function: StaticString) throws {
    if ended.load(ordering: .acquiring) {
      throw MPIError(operation: "\(function)", text: "MPI has ended in this process; it lasts as long as withMPI")
    }
  }

  /// Records that the program has entered a world; throws if it enters again.
  static func enter() throws {
    if ended.load(ordering: .acquiring) {
      throw MPIError(operation: "withMPI", text: "it was called a second time, but MPI runs once in a process")
    }
    if entered.exchange(true, ordering: .acquiringAndReleasing) {
      throw MPIError(operation: "withMPI", text: "it was called within withMPI; hand the world that is there on instead")
    }
  }

  /// Sets the thread level that a later start will request.
  static func request(threads: ThreadLevel) {
    state.withLock { if $0.phase == .idle { $0.threads = threads } }
  }

  /// The thread level that MPI provides; `multiple` before it runs.
  package static var threadLevel: ThreadLevel { state.withLock { $0.phase == .running ? $0.provided : .multiple } }

  /// Starts MPI if it is not running yet.
  ///
  /// - Parameter isGuest: Whether the process belongs to a program that may have started MPI itself: its error handlers stay as they are,
  ///   and so does its thread level, even if that is less than requested.
  static func start(isGuest: Bool = false) throws {
    if isRunning { return }
    try state.withLock { state in
      switch state.phase {
      case .running: return
      case .ended: throw MPIError(operation: "MPI_Init_thread", text: "MPI was ended and cannot be started twice in a process")
      case .idle: break
      }
      var isStarted: CInt = 0
      try check(MPI_Initialized(&isStarted), "MPI_Initialized")
      var provided: CInt = 0
      if isStarted == 0 {
        // The C library's heap for each MPI thread takes 64 MiB of address space, which a limit may not leave.
        if MemoryLimit.all.contains(where: { $0.kind == .addressSpace }) { CMPI_SHARE_HEAP() }
        try check(MPI_Init_thread(nil, nil, state.threads.mpiValue, &provided), "MPI_Init_thread")
        state.isOurs = true
      } else {
        try check(MPI_Query_thread(&provided), "MPI_Query_thread")
      }
      state.phase = .running
      state.provided = ThreadLevel(mpiValue: provided)
      running.store(true, ordering: .releasing)
      try check(findTagBound(), "MPI_Comm_get_attr")
      if isGuest && !state.isOurs { return }
      // Without this, MPI itself ends the job on any error, with a message that names neither the program nor what it did.
      try check(MPI_Comm_set_errhandler(CMPI_COMM_WORLD(), CMPI_ERRORS_RETURN()), "MPI_Comm_set_errhandler")
      try check(MPI_Comm_set_errhandler(CMPI_COMM_SELF(), CMPI_ERRORS_RETURN()), "MPI_Comm_set_errhandler")
      guard isGuest || state.provided >= state.threads else {
        throw MPIError(
          operation: "MPI_Init_thread",
          text: "the program needs thread level \(state.threads), this MPI provides \(state.provided)")
      }
    }
  }

  private static func findTagBound() -> CInt {
    var bound: UnsafeMutablePointer<CInt>?
    var isKnown: CInt = 0
    let code = withUnsafeMutablePointer(to: &bound) { MPI_Comm_get_attr(CMPI_COMM_WORLD(), CInt(MPI_TAG_UB), $0, &isKnown) }
    if code == MPI_SUCCESS, isKnown != 0, let bound { tagBound.store(Int(bound.pointee), ordering: .relaxed) }
    return code
  }

  /// Ends MPI if it is running; waits for all ranks.
  package static func finish() throws {
    AbandonedRequests.releaseDone()
    let (windows, isOurs) = state.withLock { state in
      defer {
        if state.phase == .running { state.phase = .ended }
        state.windows = []
      }
      return state.phase == .running ? (state.windows, state.isOurs) : ([], false)
    }
    for window in windows {
      var window = window
      try check(MPI_Win_unlock_all(window), "MPI_Win_unlock_all")
      try check(MPI_Win_free(&window), "MPI_Win_free")
    }
    running.store(false, ordering: .releasing)
    ended.store(true, ordering: .releasing)
    if isOurs { try check(MPI_Finalize(), "MPI_Finalize") }
  }

  /// Registers a window that must be freed before MPI ends.
  static func register(_ window: MPI_Win) { state.withLock { $0.windows.append(window) } }

  /// Unregisters a window that was freed.
  static func unregister(_ window: MPI_Win) { state.withLock { $0.windows.removeAll { $0 == window } } }

  /// Prints a sentence, prefixed with the rank if there are several.
  static func report(_ sentence: String) {
    var rank: CInt = 0
    var count: CInt = 1
    if isRunning {
      _ = MPI_Comm_rank(CMPI_COMM_WORLD(), &rank)
      _ = MPI_Comm_size(CMPI_COMM_WORLD(), &count)
    }
    fflush(nil)
    // A single write, so that lines of several ranks do not mix.
    let line = (count > 1 ? "rank \(rank) of \(count): " : "") + sentence + "\n"
    _ = line.utf8CString.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
  }

  /// Ends all ranks of the job at once.
  package static func abort(status: Int32) -> Never {
    fflush(nil)
    if isRunning { MPI_Abort(CMPI_COMM_WORLD(), status) }
    _exit(status)
  }
}
