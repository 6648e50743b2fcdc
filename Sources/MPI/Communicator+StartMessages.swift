internal import CMPI

// Non-blocking messages. Forms that take arrays copy them; for forms that take pointers, the caller keeps the memory until the
// request has been waited for.
extension Communicator {
  /// Starts sending `values`, of which it keeps a copy.
  ///
  /// The corresponding C function is `MPI_Isend`.
  public func startSend<T: Datatype>(_ values: [T], to destination: Int, tag: Int = 0) throws -> Request<Void> {
    let copy = allocateCopy(of: values)
    return try startSend(
      UnsafeBufferPointer(copy), to: destination, tag: tag, memory: .owned(UnsafeMutableRawBufferPointer(copy)))
  }

  /// Starts sending the values in `buffer`.
  ///
  /// The corresponding C function is `MPI_Isend`.
  public func startSend<T: Datatype>(
    _ buffer: UnsafeBufferPointer<T>, to destination: Int, tag: Int = 0
  ) throws -> Request<Void> {
    try startSend(buffer, to: destination, tag: tag, memory: .lent)
  }

  private func startSend<T: Datatype>(
    _ buffer: UnsafeBufferPointer<T>, to destination: Int, tag: Int, memory: OpenRequests.Memory
  ) throws -> Request<Void> {
    let pending = PendingOperation(.send, on: self, memory: memory) { _ in }
    try requireRank(destination)
    try requireTag(tag)
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    try pending.begin("MPI_Isend") {
      MPI_Isend(buffer.baseAddress, type.count, type.type, CInt(destination), CInt(tag), try handle, &$0)
    }
    return Request(pending)
  }

  /// Starts receiving a message of at most `capacity` values.
  ///
  /// The corresponding C function is `MPI_Irecv`.
  public func startReceive<T: Datatype>(
    _ type: T.Type = T.self, capacity: Int, from source: Int, tag: Int = anyTag
  ) throws -> Request<Message<T>> {
    try require(capacity >= 0, .count, "there cannot be room for \(capacity) values")
    let buffer = allocateValues(T.self, count: capacity)
    let pending = PendingOperation(.receive, on: self, memory: .owned(UnsafeMutableRawBufferPointer(buffer))) { envelope in
      try envelope.requireWhole(T.self, "MPI_Wait")
      let values = UnsafeBufferPointer(start: buffer.baseAddress, count: envelope.count(of: T.self))
      return Message(values: newArray(values), source: envelope.source, tag: envelope.tag)
    }
    try beginReceive(pending, into: buffer, from: source, tag: tag)
    return Request(pending)
  }

  /// Starts receiving into the caller's memory.
  ///
  /// The corresponding C function is `MPI_Irecv`.
  public func startReceive<T: Datatype>(
    into buffer: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int = anyTag
  ) throws -> Request<Envelope> {
    let pending = PendingOperation(.receive, on: self) { envelope in
      try envelope.requireWhole(T.self, "MPI_Wait")
      return envelope
    }
    try beginReceive(pending, into: buffer, from: source, tag: tag)
    return Request(pending)
  }

  private func beginReceive<T: Datatype>(
    _ pending: OpenRequests, into buffer: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int
  ) throws {
    try requireSource(source, in: "startReceive")
    try requireReceiveTag(tag, in: "startReceive")
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    try pending.begin("MPI_Irecv") {
      MPI_Irecv(buffer.baseAddress, type.count, type.type, CInt(source), CInt(tag), try handle, &$0)
    }
  }
}
