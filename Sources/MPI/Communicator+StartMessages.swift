internal import CMPI

// Messages that go on while the program does. Forms with arrays copy them; forms with pointers leave the memory to the caller,
// who keeps it until the request was waited for.
extension Communicator {
  /// Begins to send `values`, of which it keeps a copy.
  ///
  /// The corresponding C function is `MPI_Isend`.
  public func startSend<T: Datatype>(_ values: [T], to destination: Int, tag: Int = 0) throws -> Request<Void> {
    let copy = allocateCopy(of: values)
    return try startSend(UnsafeBufferPointer(copy), to: destination, tag: tag, memory: UnsafeMutableRawBufferPointer(copy))
  }

  /// Begins to send the values that `buffer` points to.
  ///
  /// The corresponding C function is `MPI_Isend`.
  public func startSend<T: Datatype>(
    _ buffer: UnsafeBufferPointer<T>, to destination: Int, tag: Int = 0
  ) throws -> Request<Void> {
    try startSend(buffer, to: destination, tag: tag, memory: nil)
  }

  private func startSend<T: Datatype>(
    _ buffer: UnsafeBufferPointer<T>, to destination: Int, tag: Int, memory: UnsafeMutableRawBufferPointer?
  ) throws -> Request<Void> {
    requireRank(destination)
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    var request: MPI_Request?
    let code = try MPI_Isend(
      buffer.baseAddress, type.count, type.type, CInt(destination), CInt(tag), handle, &request)
    try check(code, "MPI_Isend")
    return Request(PendingOperation([request], memory: memory) { _ in })
  }

  /// Begins to receive a message of at most `capacity` values.
  ///
  /// The corresponding C function is `MPI_Irecv`.
  public func startReceive<T: Datatype>(
    _ type: T.Type = T.self, capacity: Int, from source: Int, tag: Int = anyTag
  ) throws -> Request<Message<T>> {
    let buffer = allocateValues(T.self, count: capacity)
    let request = try startReceiving(into: buffer, from: source, tag: tag)
    return Request(
      PendingOperation([request], memory: UnsafeMutableRawBufferPointer(buffer)) { envelope in
        Message(
          values: Array(buffer.prefix(envelope.count(of: T.self))), source: envelope.source, tag: envelope.tag)
      })
  }

  /// Begins to receive into the caller's memory.
  ///
  /// The corresponding C function is `MPI_Irecv`.
  public func startReceive<T: Datatype>(
    into buffer: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int = anyTag
  ) throws -> Request<Envelope> {
    Request(PendingOperation([try startReceiving(into: buffer, from: source, tag: tag)]) { $0 })
  }

  private func startReceiving<T: Datatype>(
    into buffer: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int
  ) throws -> MPI_Request? {
    requireSource(source)
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    var request: MPI_Request?
    let code = try MPI_Irecv(
      buffer.baseAddress, type.count, type.type, CInt(source), CInt(tag), handle, &request)
    try check(code, "MPI_Irecv")
    return request
  }
}
