internal import CMPI

/// Non-blocking messages on memory that the caller keeps alive, one per slot: for engines that keep many messages in flight.
///
/// A table that is dropped with messages in flight, for example by an error, abandons them as ``cancelAll()`` does, but first
/// gives them at most 0.25 s to finish.
public final class RequestTable {
  /// The number of slots.
  public let slotCount: Int
  /// The number of slots with a message in flight.
  public private(set) var activeCount = 0

  private let communicator: Communicator
  private let requests: UnsafeMutablePointer<MPI_Request?>
  private let completed: UnsafeMutablePointer<CInt>
  private let statuses: UnsafeMutablePointer<MPI_Status>
  /// Whether the message in a slot is a receive: only receives can be cancelled and have a length.
  private let isReceive: UnsafeMutablePointer<Bool>
  private let none: MPI_Request? = CMPI_REQUEST_NULL()

  /// A table of empty slots for messages of `communicator`.
  public init(on communicator: Communicator, slotCount: Int) {
    requireOrStop(slotCount >= 0 && slotCount <= Int(Int32.max), "a table cannot have \(slotCount) slots")
    self.communicator = communicator
    self.slotCount = slotCount
    requests = .allocate(capacity: slotCount)
    completed = .allocate(capacity: slotCount)
    statuses = .allocate(capacity: slotCount)
    isReceive = .allocate(capacity: slotCount)
    requests.initialize(repeating: none, count: slotCount)
    completed.initialize(repeating: 0, count: slotCount)
    statuses.initialize(repeating: MPI_Status(), count: slotCount)
    isReceive.initialize(repeating: false, count: slotCount)
  }

  deinit {
    if activeCount > 0 {
      for _ in 0..<activeCount { AbandonedRequests.countDropped() }
      giveUp(until: wallTime + 0.25)
    }
    requests.deallocate()
    completed.deallocate()
    statuses.deallocate()
    isReceive.deallocate()
  }

  /// Whether `slot` has a message in flight.
  public func isActive(slot: Int) -> Bool {
    requireOrStop(slot >= 0 && slot < slotCount, "there is no slot \(slot) among \(slotCount)")
    return requests[slot] != none
  }

  /// Starts receiving at most `bytes.count` bytes in `slot`.
  ///
  /// The corresponding C function is `MPI_Irecv`.
  public func receive(into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int, slot: Int) throws {
    try requireFree(slot)
    try communicator.requireSource(source)
    try communicator.requireReceiveTag(tag)
    let type = try CountedType(CMPI_BYTE(), count: bytes.count, isLarge: bytes.count > LargeCount.limit)
    defer { type.release() }
    try check(
      MPI_Irecv(
        bytes.baseAddress, type.count, type.type, CInt(source), CInt(tag), communicator.handle, requests + slot), "MPI_Irecv")
    isReceive[slot] = true
    activeCount += 1
  }

  /// Starts sending `bytes` in `slot`.
  ///
  /// The corresponding C function is `MPI_Isend`.
  public func send(_ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int, slot: Int) throws {
    try requireFree(slot)
    try communicator.requireRank(destination)
    try communicator.requireTag(tag)
    let type = try CountedType(CMPI_BYTE(), count: bytes.count, isLarge: bytes.count > LargeCount.limit)
    defer { type.release() }
    try check(
      MPI_Isend(
        bytes.baseAddress, type.count, type.type, CInt(destination), CInt(tag), communicator.handle, requests + slot),
      "MPI_Isend")
    isReceive[slot] = false
    activeCount += 1
  }

  /// Lets MPI make progress and calls `completed` for each message that is done, whose slot is then free again.
  ///
  /// The corresponding C function is `MPI_Testsome`. Cost: one call of it, about 3 µs for up to a few hundred slots.
  ///
  /// - Parameter completed: the slot, and the length of a received message; 0 for a send. It may use the free slot at once.
  /// - Returns: the number of messages that were done.
  @discardableResult
  public func testSome(_ completed: (_ slot: Int, _ byteCount: Int) throws -> Void) throws -> Int {
    guard activeCount > 0 else { return 0 }
    try Runtime.requireOpen("MPI_Testsome")
    var done: CInt = 0
    let code = MPI_Testsome(CInt(slotCount), requests, &done, self.completed, statuses)
    // MPI_UNDEFINED would mean that no slot is active.
    guard done > 0 else {
      try check(code, "MPI_Testsome")
      return 0
    }
    activeCount -= Int(done)
    if code != MPI_SUCCESS { try throwFirstError(code, among: Int(done), "MPI_Testsome") }
    for index in 0..<Int(done) {
      let slot = Int(self.completed[index])
      try completed(slot, isReceive[slot] ? Envelope.byteCount(of: statuses[index]) : 0)
    }
    return Int(done)
  }

  /// Blocks until every message in flight is done.
  ///
  /// The corresponding C function is `MPI_Waitall`.
  public func waitAll() throws {
    guard activeCount > 0 else { return }
    try Runtime.requireOpen("MPI_Waitall")
    let code = MPI_Waitall(CInt(slotCount), requests, statuses)
    activeCount = (0..<slotCount).count { requests[$0] != none }
    if code != MPI_SUCCESS { try throwFirstError(code, among: slotCount, "MPI_Waitall") }
  }

  /// Cancels receives that will never be matched and abandons sends, without waiting; for giving up.
  ///
  /// The memory of the messages must stay as it is until the job ends. All slots are free afterwards.
  /// The corresponding C function is `MPI_Cancel`.
  public func cancelAll() { giveUp(until: 0) }

  private func giveUp(until deadline: Double) {
    for slot in 0..<slotCount where requests[slot] != none {
      let open = OpenRequests(isReceive[slot] ? .receive : .send, on: communicator, memory: .lent)
      open.add(requests[slot])
      requests[slot] = none
      open.giveUp(until: deadline)
    }
    activeCount = 0
  }

  @inline(__always)
  private func requireFree(_ slot: Int, in function: StaticString = #function) throws {
    try require(slot >= 0 && slot < slotCount, .argument, "there is no slot \(slot) among \(slotCount)", in: function)
    try require(requests[slot] == none, .request, "slot \(slot) still has a message under way", in: function)
  }

  /// The return code states only that some message failed; which one, and why, is in the statuses.
  private func throwFirstError(_ code: CInt, among count: Int, _ operation: StaticString) throws {
    let pending = MPI_ERR_PENDING
    let errors = (0..<count).lazy.map { self.statuses[$0].MPI_ERROR }.filter { $0 != MPI_SUCCESS && $0 != pending }
    throw MPIError(code: code == MPI_ERR_IN_STATUS ? errors.first ?? code : code, operation: "\(operation)")
  }
}
