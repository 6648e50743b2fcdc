internal import CMPI

/// A message that is sent or received repeatedly, with the same memory and the same rank.
///
/// Its arguments are fixed once; each round is ``start()`` and ``wait()``. The memory belongs to it and is accessible between
/// rounds. If it is dropped during a round, for example by an error, it is abandoned like a ``Request``.
public final class PersistentRequest<Element: Datatype> {
  private let operation: OpenRequests
  private var isActive = false
  private let buffer: UnsafeMutableBufferPointer<Element>

  private init(
    _ kind: OpenRequests.Kind, on communicator: Communicator, count: Int, zero: Element, _ function: StaticString,
    _ make: (UnsafeMutableBufferPointer<Element>, CountedType, inout MPI_Request?) throws -> CInt
  ) throws {
    buffer = allocateValues(Element.self, count: count)
    buffer.initialize(repeating: zero)
    operation = OpenRequests(
      kind, on: communicator, memory: .owned(UnsafeMutableRawBufferPointer(buffer)), isPersistent: true)
    let type = try CountedType(Element.elementType, count: count)
    defer { type.release() }
    try operation.prepare(function) { try make(buffer, type, &$0) }
  }

  deinit {
    guard isActive, !operation.isDone else { return }
    AbandonedRequests.countDropped()
    operation.giveUp()
  }

  /// The number of values in its memory.
  public var count: Int { buffer.count }

  /// A value of the message; accessible between rounds only.
  public subscript(index: Int) -> Element {
    get {
      requireInactive()
      requireOrStop(buffer.indices.contains(index), "no value \(index) in a message of \(count)")
      return buffer[index]
    }
    set {
      requireInactive()
      requireOrStop(buffer.indices.contains(index), "no value \(index) in a message of \(count)")
      buffer[index] = newValue
    }
  }

  /// Calls `body` with the memory of the message; allowed between rounds only.
  public func withValues<Result>(_ body: (UnsafeMutableBufferPointer<Element>) throws -> Result) rethrows -> Result {
    requireInactive()
    return try body(buffer)
  }

  /// Starts a round.
  ///
  /// The corresponding C function is `MPI_Start`.
  public func start() throws {
    try require(!isActive, .request, "it was started already: wait() comes first")
    try operation.start()
    isActive = true
  }

  /// Whether the round is done, so that ``wait()`` will not block; lets MPI make progress on it.
  ///
  /// The corresponding C function is `MPI_Test`.
  public func isDone() throws -> Bool {
    try require(isActive, .request, "nothing was started: start() comes first")
    return try operation.test()
  }

  /// Blocks until the round is done; for a receive, returns what arrived.
  ///
  /// The corresponding C function is `MPI_Wait`.
  @discardableResult
  public func wait() throws -> Envelope {
    try require(isActive, .request, "nothing was started: start() comes first")
    defer { isActive = !operation.isDone }
    try operation.waitUntilDone()
    let envelope = operation.envelope
    if operation.kind == .receive { try envelope.requireWhole(Element.self, "MPI_Wait") }
    return envelope
  }

  private func requireInactive(in function: StaticString = #function) {
    requireOrStop(!isActive, "a PersistentRequest was used between start() and wait()", in: function)
  }

  /// A message of `count` values to `destination`, initially all `zero`.
  static func sending(
    on communicator: Communicator, count: Int, zero: Element, to destination: Int, tag: Int
  ) throws -> PersistentRequest {
    try PersistentRequest(.send, on: communicator, count: count, zero: zero, "MPI_Send_init") { buffer, type, request in
      MPI_Send_init(
        buffer.baseAddress, type.count, type.type, CInt(destination), CInt(tag), try communicator.handle, &request)
    }
  }

  /// A message of at most `count` values from `source`.
  static func receiving(
    on communicator: Communicator, count: Int, zero: Element, from source: Int, tag: Int
  ) throws -> PersistentRequest {
    try PersistentRequest(.receive, on: communicator, count: count, zero: zero, "MPI_Recv_init") { buffer, type, request in
      MPI_Recv_init(
        buffer.baseAddress, type.count, type.type, CInt(source), CInt(tag), try communicator.handle, &request)
    }
  }
}

extension Communicator {
  /// A message of `count` values, initially all `initial`, that will be sent to `destination` repeatedly.
  ///
  /// The corresponding C function is `MPI_Send_init`.
  public func persistentSend<T: Datatype>(
    repeating initial: T, count: Int, to destination: Int, tag: Int = 0
  ) throws -> PersistentRequest<T> {
    try requireRank(destination)
    try requireTag(tag)
    try require(count >= 0, .count, "a message cannot have \(count) values")
    return try .sending(on: self, count: count, zero: initial, to: destination, tag: tag)
  }

  /// A message of at most `count` values that will be received from `source` repeatedly.
  ///
  /// The corresponding C function is `MPI_Recv_init`.
  public func persistentReceive<T: Datatype>(
    repeating initial: T, count: Int, from source: Int, tag: Int = anyTag
  ) throws -> PersistentRequest<T> {
    try requireSource(source)
    try requireReceiveTag(tag)
    try require(count >= 0, .count, "a message cannot have \(count) values")
    return try .receiving(on: self, count: count, zero: initial, from: source, tag: tag)
  }
}
