internal import CMPI

// Blocking messages. Forms that take pointers do not copy the values; forms that take arrays are for everything else.
extension Communicator {
  /// Sends `values` to `destination`; returns when the memory may be reused, which may be before they arrive.
  ///
  /// The corresponding C function is `MPI_Send`.
  public func send<T: Datatype>(_ values: [T], to destination: Int, tag: Int = 0) throws {
    try values.withUnsafeBufferPointer { try send($0, to: destination, tag: tag) }
  }

  /// Sends one value.
  ///
  /// The corresponding C function is `MPI_Send`.
  public func send<T: Datatype>(_ value: T, to destination: Int, tag: Int = 0) throws {
    try withValue(value) { try send(UnsafeBufferPointer($0), to: destination, tag: tag) }
  }

  /// Sends the values in `buffer`.
  ///
  /// The corresponding C function is `MPI_Send`.
  public func send<T: Datatype>(_ buffer: UnsafeBufferPointer<T>, to destination: Int, tag: Int = 0) throws {
    try requireRank(destination)
    try requireTag(tag)
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    try check(MPI_Send(buffer.baseAddress, type.count, type.type, CInt(destination), CInt(tag), handle), "MPI_Send")
  }

  /// Sends bytes.
  ///
  /// The corresponding C function is `MPI_Send`.
  public func send(_ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int = 0) throws {
    try requireRank(destination)
    try requireTag(tag)
    let type = try CountedType(CMPI_BYTE(), count: bytes.count, isLarge: bytes.count > LargeCount.limit)
    defer { type.release() }
    try check(MPI_Send(bytes.baseAddress, type.count, type.type, CInt(destination), CInt(tag), handle), "MPI_Send")
  }

  /// Sends `values` to `destination`; returns when the receiver has begun to receive them.
  ///
  /// The corresponding C function is `MPI_Ssend`.
  public func sendSynchronously<T: Datatype>(_ values: [T], to destination: Int, tag: Int = 0) throws {
    try requireRank(destination)
    try requireTag(tag)
    let type = try CountedType(T.elementType, count: values.count)
    defer { type.release() }
    try values.withUnsafeBufferPointer { buffer in
      try check(MPI_Ssend(buffer.baseAddress, type.count, type.type, CInt(destination), CInt(tag), handle), "MPI_Ssend")
    }
  }

  /// Waits for a message of any length and returns it.
  ///
  /// The corresponding C functions are `MPI_Mprobe` and `MPI_Mrecv`.
  ///
  /// - Parameters:
  ///   - type: the type of its values, the same as the sender's.
  ///   - source: a rank, or ``anySource``.
  ///   - tag: a tag, or ``anyTag``.
  /// - Returns: the values, and where they came from.
  public func receive<T: Datatype>(_ type: T.Type = T.self, from source: Int, tag: Int = anyTag) throws -> Message<T> {
    try requireSource(source)
    try requireReceiveTag(tag)
    var message: MPI_Message?
    var status = MPI_Status()
    // The probe takes the message out of the queue, so that no other thread can receive it in between.
    try check(MPI_Mprobe(CInt(source), CInt(tag), handle, &message, &status), "MPI_Mprobe")
    let envelope = Envelope(status)
    do {
      try envelope.requireWhole(T.self, "MPI_Recv")
    } catch {
      try discard(&message, byteCount: envelope.byteCount)
      throw error
    }
    let count = envelope.count(of: T.self)
    let counted = try CountedType(T.elementType, count: count)
    defer { counted.release() }
    let values = try [T](unsafeUninitializedCapacity: count) { buffer, initialized in
      try check(MPI_Mrecv(buffer.baseAddress, counted.count, counted.type, &message, CMPI_STATUS_IGNORE()), "MPI_Mrecv")
      initialized = count
    }
    return Message(values: values, source: envelope.source, tag: envelope.tag)
  }

  /// Receives and discards a message that was taken out of the queue: its sender may be waiting for that.
  private func discard(_ message: inout MPI_Message?, byteCount: Int) throws {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(byteCount, 1), alignment: 1)
    defer { memory.deallocate() }
    let type = try CountedType(CMPI_BYTE(), count: byteCount, isLarge: byteCount > LargeCount.limit)
    defer { type.release() }
    try check(MPI_Mrecv(memory.baseAddress, type.count, type.type, &message, CMPI_STATUS_IGNORE()), "MPI_Mrecv")
  }

  /// Waits for a message of exactly one value.
  ///
  /// The corresponding C function is `MPI_Recv`.
  public func receiveValue<T: Datatype>(_ type: T.Type = T.self, from source: Int, tag: Int = anyTag) throws -> T {
    try withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { buffer in
      let envelope = try receive(into: buffer, from: source, tag: tag)
      guard envelope.byteCount == MemoryLayout<T>.stride else {
        throw MPIError(
          MPI_ERR_TYPE, operation: "MPI_Recv",
          text: "expected one \(T.self) of \(MemoryLayout<T>.stride) bytes, received \(envelope.byteCount) bytes from rank "
            + "\(envelope.source) with tag \(envelope.tag)")
      }
      return buffer[0]
    }
  }

  /// Waits for a message and stores it; a message that does not fit is an error.
  ///
  /// The corresponding C function is `MPI_Recv`.
  @discardableResult
  public func receive<T: Datatype>(
    into buffer: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int = anyTag
  ) throws -> Envelope {
    try requireSource(source)
    try requireReceiveTag(tag)
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    var status = MPI_Status()
    try check(MPI_Recv(buffer.baseAddress, type.count, type.type, CInt(source), CInt(tag), handle, &status), "MPI_Recv")
    let envelope = Envelope(status)
    try envelope.requireWhole(T.self, "MPI_Recv")
    return envelope
  }

  /// Waits for a message and stores it in the first elements of `values`.
  ///
  /// The corresponding C function is `MPI_Recv`.
  @discardableResult
  public func receive<T: Datatype>(into values: inout [T], from source: Int, tag: Int = anyTag) throws -> Envelope {
    try values.withUnsafeMutableBufferPointer { try receive(into: $0, from: source, tag: tag) }
  }

  /// Waits for bytes and stores them.
  ///
  /// The corresponding C function is `MPI_Recv`.
  @discardableResult
  public func receive(into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int = anyTag) throws -> Envelope {
    try requireSource(source)
    try requireReceiveTag(tag)
    let type = try CountedType(CMPI_BYTE(), count: bytes.count, isLarge: bytes.count > LargeCount.limit)
    defer { type.release() }
    var status = MPI_Status()
    try check(MPI_Recv(bytes.baseAddress, type.count, type.type, CInt(source), CInt(tag), handle, &status), "MPI_Recv")
    return Envelope(status)
  }

  /// Sends `values` to one rank while receiving from another, without the risk of deadlock; returns what arrived.
  ///
  /// The corresponding C functions are `MPI_Isend`, `MPI_Mprobe` and `MPI_Mrecv`.
  ///
  /// - Parameters:
  ///   - values: what to send.
  ///   - destination: the rank to send to.
  ///   - source: the rank to receive from, or ``anySource``.
  ///   - tag: of both messages.
  /// - Returns: the message from `source`.
  public func exchange<T: Datatype>(_ values: [T], to destination: Int, from source: Int, tag: Int = 0) throws -> Message<T> {
    try values.withUnsafeBufferPointer { buffer in
      let sending = try startSend(buffer, to: destination, tag: tag)
      let message = try receive(T.self, from: source, tag: tag)
      try sending.wait()
      return message
    }
  }

  /// Waits until a message can be received, and returns its envelope.
  ///
  /// The corresponding C function is `MPI_Probe`.
  public func probe(from source: Int = anySource, tag: Int = anyTag) throws -> Envelope {
    try requireSource(source)
    try requireReceiveTag(tag)
    var status = MPI_Status()
    try check(MPI_Probe(CInt(source), CInt(tag), handle, &status), "MPI_Probe")
    return Envelope(status)
  }

  /// Returns the envelope of a message that can be received now; nil if there is none.
  ///
  /// The corresponding C function is `MPI_Iprobe`.
  public func probeNow(from source: Int = anySource, tag: Int = anyTag) throws -> Envelope? {
    try requireSource(source)
    try requireReceiveTag(tag)
    var isThere: CInt = 0
    var status = MPI_Status()
    try check(MPI_Iprobe(CInt(source), CInt(tag), handle, &isThere, &status), "MPI_Iprobe")
    return isThere == 0 ? nil : Envelope(status)
  }
}
