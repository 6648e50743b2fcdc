internal import CMPI
internal import Synchronization

/// One or more MPI requests that belong together, and the memory and objects they need until they are done.
class OpenRequests: @unchecked Sendable {
  enum Kind { case send, receive, collective }

  /// Where the values are.
  enum Memory {
    /// Allocated for the operation, freed when it is done.
    case owned(UnsafeMutableRawBufferPointer)
    /// Owned by the caller, who may free it as soon as the request is gone.
    case lent
  }

  let kind: Kind
  private let memory: Memory
  /// Whether the requests are persistent: each can be started again after a round.
  private let isPersistent: Bool
  /// Includes the communicator: MPI must not free it before the operation is done.
  private var keptAlive: [AnyObject]
  private var requests: [MPI_Request?] = []
  private var status = MPI_Status()
  private(set) var isDone = true

  init(
    _ kind: Kind, on communicator: Communicator?, memory: Memory, keepingAlive keptAlive: [AnyObject] = [],
    isPersistent: Bool = false
  ) {
    self.kind = kind
    self.memory = memory
    self.isPersistent = isPersistent
    self.keptAlive = keptAlive
    if let communicator { self.keptAlive.append(communicator) }
  }

  deinit {
    guard isDone else { return }
    if isPersistent, Runtime.isRunning {
      for index in requests.indices where requests[index] != CMPI_REQUEST_NULL() { _ = MPI_Request_free(&requests[index]) }
    }
    if case .owned(let memory) = memory { memory.deallocate() }
  }

  /// Starts one more request; if that fails, the others are abandoned.
  @inline(__always)
  func begin(_ operation: StaticString, _ body: (inout MPI_Request?) throws -> CInt) throws {
    var request: MPI_Request?
    do {
      try check(try body(&request), operation)
    } catch {
      giveUp()
      throw error
    }
    add(request)
  }

  /// Takes ownership of a request that is in progress.
  func add(_ request: MPI_Request?) {
    requests.append(request)
    isDone = false
  }

  /// Creates a request that does nothing until it is started.
  func prepare(_ operation: StaticString, _ body: (inout MPI_Request?) throws -> CInt) throws {
    var request: MPI_Request?
    try check(try body(&request), operation)
    requests.append(request)
  }

  /// Starts the prepared requests.
  func start() throws {
    try Runtime.requireOpen("MPI_Start")
    for index in requests.indices {
      try check(MPI_Start(&requests[index]), "MPI_Start")
      isDone = false
    }
  }

  /// The envelope of the one message; empty for operations without one.
  var envelope: Envelope { requests.count == 1 ? Envelope(status) : .none }

  func waitUntilDone() throws {
    if isDone { return }
    try Runtime.requireOpen("MPI_Wait")
    if requests.count == 1 {
      let code = MPI_Wait(&requests[0], &status)
      // A request that ended with an error is gone, too.
      isDone = code == MPI_SUCCESS || requests[0] == CMPI_REQUEST_NULL()
      try check(code, "MPI_Wait")
    } else {
      var statuses = [MPI_Status](repeating: MPI_Status(), count: requests.count)
      let code = MPI_Waitall(CInt(requests.count), &requests, &statuses)
      isDone = code == MPI_SUCCESS || requests.allSatisfy { $0 == CMPI_REQUEST_NULL() }
      try check(firstError(statuses, code), "MPI_Waitall")
    }
  }

  func test() throws -> Bool {
    if isDone { return true }
    try Runtime.requireOpen("MPI_Test")
    var flag: CInt = 0
    if requests.count == 1 {
      let code = MPI_Test(&requests[0], &flag, &status)
      isDone = code == MPI_SUCCESS ? flag != 0 : requests[0] == CMPI_REQUEST_NULL()
      try check(code, "MPI_Test")
    } else {
      var statuses = [MPI_Status](repeating: MPI_Status(), count: requests.count)
      let code = MPI_Testall(CInt(requests.count), &requests, &flag, &statuses)
      isDone = code == MPI_SUCCESS ? flag != 0 : requests.allSatisfy { $0 == CMPI_REQUEST_NULL() }
      try check(firstError(statuses, code), "MPI_Testall")
    }
    return isDone
  }

  /// Cancels a receive that no message has matched; an operation that cannot be cancelled is waited for.
  func cancel() throws -> Bool {
    if isDone { return false }
    try Runtime.requireOpen("MPI_Cancel")
    guard kind == .receive, requests.count == 1 else {
      try waitUntilDone()
      return false
    }
    try check(MPI_Cancel(&requests[0]), "MPI_Cancel")
    try waitUntilDone()
    var flag: CInt = 0
    try check(MPI_Test_cancelled(&status, &flag), "MPI_Test_cancelled")
    return flag != 0
  }

  /// Abandons the operation: cancels receives, and keeps what MPI may still use until it is done or the process ends.
  ///
  /// Memory lent by the caller cannot be kept; an operation on it gets 0.25 s to finish, or until `deadline` if sooner.
  func giveUp(until deadline: Double = .infinity) {
    guard !isDone, Runtime.isRunning else {
      if !isDone { AbandonedRequests.keep(self) }
      return
    }
    if kind == .receive {
      for index in requests.indices where requests[index] != CMPI_REQUEST_NULL() { _ = MPI_Cancel(&requests[index]) }
    }
    testQuietly()
    if case .lent = memory {
      let deadline = min(deadline, wallTime + 0.25)
      while !isDone && wallTime < deadline { testQuietly() }
    }
    if !isDone { AbandonedRequests.keep(self) }
  }

  /// Tests whether the operation is done; one that failed counts as done.
  func testQuietly() {
    var isAnyOpen = false
    for index in requests.indices {
      var flag: CInt = 0
      let code = MPI_Test(&requests[index], &flag, CMPI_STATUS_IGNORE())
      if code == MPI_SUCCESS && flag == 0 { isAnyOpen = true }
    }
    isDone = !isAnyOpen
  }

  /// The return code for several requests states only that some failed; which ones, and why, is in their statuses.
  private func firstError(_ statuses: [MPI_Status], _ code: CInt) -> CInt {
    guard code == MPI_ERR_IN_STATUS else { return code }
    return statuses.lazy.map(\.MPI_ERROR).first { $0 != MPI_SUCCESS && $0 != MPI_ERR_PENDING } ?? code
  }
}

/// Requests that are no longer waited for, with everything they need.
enum AbandonedRequests {
  private struct State {
    var open: [OpenRequests] = []
    var droppedCount = 0
  }
  private static let state = Mutex(State())

  /// Keeps `requests` until they are done; releases those that are done by now.
  static func keep(_ requests: OpenRequests) {
    state.withLock { $0.open.append(requests) }
    releaseDone()
  }

  /// Releases the requests that are done.
  static func releaseDone() {
    guard Runtime.isRunning else { return }
    let open = state.withLock { $0.open }
    for requests in open { requests.testQuietly() }
    state.withLock { $0.open.removeAll { $0.isDone } }
  }

  /// Counts a request that was dropped without being waited for.
  static func countDropped() { state.withLock { $0.droppedCount += 1 } }

  /// The number of requests that were dropped.
  static var droppedCount: Int { state.withLock { $0.droppedCount } }
}
