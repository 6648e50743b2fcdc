internal import CMPI

/// A message that is sent or received again and again from the same memory to the same rank.
///
/// Its arguments are settled once; each round is ``start()`` and ``wait()``. The memory belongs to it and is open between rounds.
public final class PersistentRequest<Element: Datatype> {
  private var request: MPI_Request?
  private var isActive = false
  private let buffer: UnsafeMutableBufferPointer<Element>
  private let communicator: Communicator

  private init(
    on communicator: Communicator, count: Int, zero: Element,
    _ make: (UnsafeMutableBufferPointer<Element>, CountedType, inout MPI_Request?) throws -> Void
  ) throws {
    self.communicator = communicator
    buffer = allocateValues(Element.self, count: count)
    buffer.initialize(repeating: zero)
    do {
      let type = try CountedType(Element.elementType, count: count)
      defer { type.release() }
      try make(buffer, type, &request)
    } catch {
      UnsafeMutableRawBufferPointer(buffer).deallocate()
      throw error
    }
  }

  deinit {
    require(!isActive, "a PersistentRequest was dropped before wait(): MPI may still use its memory")
    if Runtime.isRunning, request != nil { _ = MPI_Request_free(&request) }
    UnsafeMutableRawBufferPointer(buffer).deallocate()
  }

  /// The number of values in its memory.
  public var count: Int { buffer.count }

  /// A value of the message; between rounds only.
  public subscript(index: Int) -> Element {
    get {
      requireInactive()
      require(buffer.indices.contains(index), "no value \(index) in a message of \(count)")
      return buffer[index]
    }
    set {
      requireInactive()
      require(buffer.indices.contains(index), "no value \(index) in a message of \(count)")
      buffer[index] = newValue
    }
  }

  /// Calls `body` with the memory of the message; between rounds only.
  public func withValues<Result>(_ body: (UnsafeMutableBufferPointer<Element>) throws -> Result) rethrows -> Result {
    requireInactive()
    return try body(buffer)
  }

  /// Begins a round.
  ///
  /// The corresponding C function is `MPI_Start`.
  public func start() throws {
    requireInactive()
    try check(MPI_Start(&request), "MPI_Start")
    isActive = true
  }

  /// Blocks until the round is done; for a receive, returns what arrived.
  ///
  /// The corresponding C function is `MPI_Wait`.
  @discardableResult
  public func wait() throws -> Envelope {
    require(isActive, "a PersistentRequest was waited for before start()")
    var status = MPI_Status()
    isActive = false
    try check(MPI_Wait(&request, &status), "MPI_Wait")
    return Envelope(status)
  }

  private func requireInactive() {
    require(!isActive, "a PersistentRequest was used between start() and wait()")
  }

  /// A message of `count` values to `destination`, all `zero` at first.
  static func sending(
    on communicator: Communicator, count: Int, zero: Element, to destination: Int, tag: Int
  ) throws -> PersistentRequest {
    try PersistentRequest(on: communicator, count: count, zero: zero) { buffer, type, request in
      let code = try MPI_Send_init(
        buffer.baseAddress, type.count, type.type, CInt(destination), CInt(tag), communicator.handle, &request)
      try check(code, "MPI_Send_init")
    }
  }

  /// A message of at most `count` values from `source`.
  static func receiving(
    on communicator: Communicator, count: Int, zero: Element, from source: Int, tag: Int
  ) throws -> PersistentRequest {
    try PersistentRequest(on: communicator, count: count, zero: zero) { buffer, type, request in
      let code = try MPI_Recv_init(
        buffer.baseAddress, type.count, type.type, CInt(source), CInt(tag), communicator.handle, &request)
      try check(code, "MPI_Recv_init")
    }
  }
}

extension Communicator {
  /// A message of as many values as `initial` that will be sent to `destination` again and again.
  ///
  /// The corresponding C function is `MPI_Send_init`.
  public func persistentSend<T: Datatype>(
    repeating initial: T, count: Int, to destination: Int, tag: Int = 0
  ) throws -> PersistentRequest<T> {
    requireRank(destination)
    return try .sending(on: self, count: count, zero: initial, to: destination, tag: tag)
  }

  /// A message of at most `count` values that will be received from `source` again and again.
  ///
  /// The corresponding C function is `MPI_Recv_init`.
  public func persistentReceive<T: Datatype>(
    repeating initial: T, count: Int, from source: Int, tag: Int = anyTag
  ) throws -> PersistentRequest<T> {
    requireSource(source)
    return try .receiving(on: self, count: count, zero: initial, from: source, tag: tag)
  }
}
