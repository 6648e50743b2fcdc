internal import CMPI

/// An operation under way, and the memory it reads or writes.
///
/// It must be waited for, once: waiting twice does not compile, and dropping it stops the program with a sentence, because MPI
/// would write into memory that is no longer there.
public struct Request<Value>: ~Copyable {
  private var pending: PendingOperation<Value>?

  init(_ pending: PendingOperation<Value>) { self.pending = pending }

  /// Blocks until the operation is done and returns what it produced.
  ///
  /// The corresponding C function is `MPI_Wait`.
  public consuming func wait() throws -> Value {
    let operation = pending.take()!
    return try operation.wait()
  }

  /// Whether the operation is done, so that ``wait()`` will not block; gives MPI time to work on it.
  ///
  /// The corresponding C function is `MPI_Test`.
  public mutating func isDone() throws -> Bool { try pending!.test() }

  /// Withdraws a receive that no message has matched; an operation that cannot be withdrawn is waited for.
  ///
  /// The corresponding C function is `MPI_Cancel`.
  ///
  /// - Returns: whether it was withdrawn.
  @discardableResult
  public consuming func cancel() throws -> Bool {
    let operation = pending.take()!
    return try operation.cancel()
  }

  /// Gives up on the operation when the job is about to end by another error; its memory is never freed.
  consuming func abandon() {
    let operation = pending.take()!
    operation.abandon()
  }

  deinit {
    require(pending == nil, "a Request was dropped before wait(): MPI may still use its memory")
  }
}

/// What MPI works on: one or several requests, the memory and objects they need, and what to make of the result.
final class PendingOperation<Value> {
  private var requests: [MPI_Request?]
  private var status = MPI_Status()
  private var isDone: Bool
  private let memory: UnsafeMutableRawBufferPointer?
  private let keptAlive: [AnyObject]
  private let finish: (Envelope) throws -> Value

  /// `memory` is freed when the operation is done; `keptAlive` until then.
  init(
    _ requests: [MPI_Request?], memory: UnsafeMutableRawBufferPointer? = nil, keepingAlive keptAlive: [AnyObject] = [],
    finish: @escaping (Envelope) throws -> Value
  ) {
    self.requests = requests
    self.memory = memory
    self.keptAlive = keptAlive
    self.finish = finish
    isDone = requests.isEmpty
  }

  deinit { if isDone { memory?.deallocate() } }

  func wait() throws -> Value {
    if !isDone {
      if requests.count == 1 {
        try check(MPI_Wait(&requests[0], &status), "MPI_Wait")
      } else {
        try check(MPI_Waitall(CInt(requests.count), &requests, CMPI_STATUSES_IGNORE()), "MPI_Waitall")
      }
      isDone = true
    }
    return try finish(envelope)
  }

  func test() throws -> Bool {
    if isDone { return true }
    var flag: CInt = 0
    if requests.count == 1 {
      try check(MPI_Test(&requests[0], &flag, &status), "MPI_Test")
    } else {
      try check(MPI_Testall(CInt(requests.count), &requests, &flag, CMPI_STATUSES_IGNORE()), "MPI_Testall")
    }
    isDone = flag != 0
    return isDone
  }

  func cancel() throws -> Bool {
    if isDone { return false }
    guard requests.count == 1 else {
      _ = try wait()
      return false
    }
    try check(MPI_Cancel(&requests[0]), "MPI_Cancel")
    try check(MPI_Wait(&requests[0], &status), "MPI_Wait")
    isDone = true
    var flag: CInt = 0
    try check(MPI_Test_cancelled(&status, &flag), "MPI_Test_cancelled")
    return flag != 0
  }

  /// Frees the handles; the memory stays, as MPI may still use it.
  func abandon() {
    for index in requests.indices where requests[index] != nil { _ = MPI_Request_free(&requests[index]) }
  }

  private var envelope: Envelope { requests.count == 1 ? Envelope(status) : .none }
}

extension Request {
  /// A request for what is already done.
  static func done(_ value: Value) -> Request { Request(PendingOperation([]) { _ in value }) }
}

/// Memory for `count` values that lives as long as an operation; uninitialised.
func allocateValues<T: Datatype>(_ type: T.Type, count: Int) -> UnsafeMutableBufferPointer<T> {
  let bytes = UnsafeMutableRawBufferPointer.allocate(
    byteCount: max(count, 1) * MemoryLayout<T>.stride, alignment: max(64, MemoryLayout<T>.alignment))
  return UnsafeMutableBufferPointer(start: bytes.baseAddress!.assumingMemoryBound(to: T.self), count: count)
}

/// A copy of `values` that lives as long as an operation.
func allocateCopy<T: Datatype>(of values: [T]) -> UnsafeMutableBufferPointer<T> {
  let buffer = allocateValues(T.self, count: values.count)
  _ = buffer.initialize(from: values)
  return buffer
}
