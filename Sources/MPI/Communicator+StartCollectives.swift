internal import CMPI

// Non-blocking collective operations. The caller keeps the memory until the request has been waited for. All ranks start them
// in the same order.
extension Communicator {
  /// Starts a barrier; the request is done when all ranks have started it.
  ///
  /// The corresponding C function is `MPI_Ibarrier`.
  public func startBarrier() throws -> Request<Void> {
    guard let backing = try backing else { return .done(()) }
    let pending = PendingOperation(.collective, on: self) { _ in }
    try pending.begin("MPI_Ibarrier") { MPI_Ibarrier(backing, &$0) }
    return Request(pending)
  }

  /// Starts copying the values of `root` to all ranks.
  ///
  /// The corresponding C function is `MPI_Ibcast`.
  public func startBroadcast<T: Datatype>(_ buffer: UnsafeMutableBufferPointer<T>, root: Int = 0) throws -> Request<Void> {
    try requireRoot(root)
    guard let backing = try backing, buffer.count > 0 else { return .done(()) }
    let type = try CountedType(T.elementType, count: buffer.count)
    let pending = PendingOperation(.collective, on: self, keepingAlive: [TypeKeeper(type)]) { _ in }
    try pending.begin("MPI_Ibcast") { MPI_Ibcast(buffer.baseAddress, type.count, type.type, CInt(root), backing, &$0) }
    return Request(pending)
  }

  /// Starts replacing the values with the combination of those of all ranks.
  ///
  /// The corresponding C function is `MPI_Iallreduce` in place.
  public func startAllReduce<T: Datatype>(
    _ buffer: UnsafeMutableBufferPointer<T>, _ operation: Operation<T>
  ) throws -> Request<Void> {
    guard let backing = try backing else { return .done(()) }
    return Request(try pendingAllReduce(buffer, operation, on: backing) {})
  }

  /// Starts combining the values of all ranks, of which it keeps a copy; the request returns the result.
  ///
  /// The corresponding C function is `MPI_Iallreduce`.
  public func startAllReduce<T: Datatype>(_ values: [T], _ operation: Operation<T>) throws -> Request<[T]> {
    guard let backing = try backing else { return .done(values) }
    let copy = allocateCopy(of: values)
    return Request(
      try pendingAllReduce(copy, operation, on: backing, memory: .owned(UnsafeMutableRawBufferPointer(copy))) {
        newArray(UnsafeBufferPointer(copy))
      })
  }

  private func pendingAllReduce<T: Datatype, Value>(
    _ buffer: UnsafeMutableBufferPointer<T>, _ operation: Operation<T>, on backing: MPI_Comm,
    memory: OpenRequests.Memory = .lent, finish: @escaping () -> Value
  ) throws -> PendingOperation<Value> {
    let pending = PendingOperation(.collective, on: self, memory: memory, keepingAlive: operation.keptAlive) { _ in finish() }
    let (type, mpiOperation) = try operation.handles
    try LargeCount.pieces(of: buffer.count) { piece in
      try pending.begin("MPI_Iallreduce") {
        MPI_Iallreduce(
          CMPI_IN_PLACE(), buffer.baseAddress! + piece.lowerBound, CInt(piece.count), type, mpiOperation, backing, &$0)
      }
    }
    return pending
  }

  /// Starts gathering the blocks of all ranks, of equal counts, on every rank.
  ///
  /// The corresponding C function is `MPI_Iallgather`.
  public func startAllGather<T: Datatype>(
    _ block: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>
  ) throws -> Request<Void> {
    try requireRoom(buffer.count, for: block.count * count)
    guard let backing = try backing, block.count > 0 else {
      copyValues(block, to: buffer)
      return .done(())
    }
    let type = try blockType(T.elementType, count: block.count)
    let pending = PendingOperation(.collective, on: self, keepingAlive: [TypeKeeper(type)]) { _ in }
    try pending.begin("MPI_Iallgather") {
      MPI_Iallgather(block.baseAddress, type.count, type.type, buffer.baseAddress, type.count, type.type, backing, &$0)
    }
    return Request(pending)
  }

  /// Starts gathering blocks of any counts on every rank; the parameters are those of the blocking form.
  ///
  /// The corresponding C function is `MPI_Iallgatherv`.
  public func startAllGather<T: Datatype>(
    varying block: UnsafeBufferPointer<T>?, into buffer: UnsafeMutableBufferPointer<T>, ranges: [Range<Int>]
  ) throws -> Request<Void> {
    try requireBlocks(block?.count, buffer.count, ranges)
    let own = UnsafeMutableBufferPointer(rebasing: buffer[ranges[rank]])
    if let block { copyValues(block, to: own) }
    guard let backing = try backing else { return .done(()) }
    guard let blocks = Blocks(ranges) else {
      let (source, part) = sourceApart(own, from: buffer)
      return try startAllToAll(source, ranges.map { _ in part }, into: buffer, ranges, skippingOwn: true)
    }
    let type = try T.elementType.handle
    // MPI reads the counts until the operation is done.
    let counts = KeptArray(blocks.counts)
    let displacements = KeptArray(blocks.displacements)
    let pending = PendingOperation(.collective, on: self, keepingAlive: [counts, displacements]) { _ in }
    try pending.begin("MPI_Iallgatherv") {
      MPI_Iallgatherv(
        CMPI_IN_PLACE(), 0, type, buffer.baseAddress, counts.address, displacements.address, type, backing, &$0)
    }
    return Request(pending)
  }

  /// Starts combining the values of all ranks and giving each one range; the parameters are those of the blocking form.
  ///
  /// The corresponding C function is `MPI_Ireduce_scatter`.
  public func startReduceScatter<T: Datatype>(
    _ source: UnsafeBufferPointer<T>, into block: UnsafeMutableBufferPointer<T>, ranges: [Range<Int>],
    _ operation: Operation<T>
  ) throws -> Request<Void> {
    try requireConsecutive(ranges, source.count)
    try requireRoom(block.count, for: ranges[rank].count)
    guard let backing = try backing, source.count > 0 else {
      copyValues(source, to: block)
      return .done(())
    }
    let (type, mpiOperation) = try operation.handles
    let counts = Blocks(ranges).map { KeptArray($0.counts) }
    let pending = PendingOperation(.collective, on: self, keepingAlive: operation.keptAlive + [counts].compactMap { $0 }) { _ in
    }
    if let counts {
      try pending.begin("MPI_Ireduce_scatter") {
        MPI_Ireduce_scatter(source.baseAddress, block.baseAddress, counts.address, type, mpiOperation, backing, &$0)
      }
    } else {
      for (root, range) in ranges.enumerated() {
        try LargeCount.pieces(of: range.count) { piece in
          try pending.begin("MPI_Ireduce") {
            MPI_Ireduce(
              source.baseAddress! + range.lowerBound + piece.lowerBound,
              rank == root ? block.baseAddress! + piece.lowerBound : nil, CInt(piece.count), type, mpiOperation, CInt(root),
              backing, &$0)
          }
        }
      }
    }
    return Request(pending)
  }

  /// Starts sending block *j* to rank *j* and receiving a block from each rank, of equal counts.
  ///
  /// The corresponding C function is `MPI_Ialltoall`.
  public func startAllToAll<T: Datatype>(
    _ source: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>
  ) throws -> Request<Void> {
    try requireEqualBlocks(source.count)
    try requireRoom(buffer.count, for: source.count)
    guard let backing = try backing, source.count > 0 else {
      copyValues(source, to: buffer)
      return .done(())
    }
    let type = try blockType(T.elementType, count: source.count / count)
    let pending = PendingOperation(.collective, on: self, keepingAlive: [TypeKeeper(type)]) { _ in }
    try pending.begin("MPI_Ialltoall") {
      MPI_Ialltoall(source.baseAddress, type.count, type.type, buffer.baseAddress, type.count, type.type, backing, &$0)
    }
    return Request(pending)
  }

  /// Starts sending a range of values to each rank and receiving one from each; the parameters are those of the blocking form.
  ///
  /// The corresponding C function is `MPI_Ialltoallw`.
  public func startAllToAll<T: Datatype>(
    varying source: UnsafeBufferPointer<T>, ranges sourceRanges: [Range<Int>], into buffer: UnsafeMutableBufferPointer<T>,
    ranges: [Range<Int>]
  ) throws -> Request<Void> {
    try requireBlocks(nil, source.count, sourceRanges)
    try requireBlocks(nil, buffer.count, ranges)
    guard try !isLocal, count > 1 else {
      try allToAll(varying: source, ranges: sourceRanges, into: buffer, ranges: ranges)
      return .done(())
    }
    return try startAllToAll(source, sourceRanges, into: buffer, ranges, skippingOwn: false)
  }

  private func startAllToAll<T: Datatype>(
    _ source: UnsafeBufferPointer<T>, _ sourceRanges: [Range<Int>], into buffer: UnsafeMutableBufferPointer<T>,
    _ ranges: [Range<Int>], skippingOwn: Bool
  ) throws -> Request<Void> {
    let skipping = skippingOwn ? rank : nil
    let stride = MemoryLayout<T>.stride
    let sent = try TypedBlocks(T.elementType, stride: stride, ranges: sourceRanges, skipping: skipping)
    let received = try TypedBlocks(T.elementType, stride: stride, ranges: ranges, skipping: skipping)
    let numbers = [sent.counts, sent.displacements, received.counts, received.displacements].map { KeptArray($0) }
    let types = [sent.types, received.types].map { KeptArray($0) }
    let pending = PendingOperation(.collective, on: self, keepingAlive: [sent, received] + numbers + types) { _ in }
    try pending.begin("MPI_Ialltoallw") {
      MPI_Ialltoallw(
        source.baseAddress, numbers[0].address, numbers[1].address, types[0].address, buffer.baseAddress, numbers[2].address,
        numbers[3].address, types[1].address, try handle, &$0)
    }
    return Request(pending)
  }
}

/// An array at a fixed address, for arguments that MPI reads until an operation is done.
private final class KeptArray<Element> {
  private let storage: UnsafeMutableBufferPointer<Element>
  var address: UnsafePointer<Element> { UnsafePointer(storage.baseAddress!) }

  init(_ elements: [Element]) {
    storage = .allocate(capacity: max(elements.count, 1))
    _ = storage.initialize(from: elements)
  }

  deinit { storage.deallocate() }
}
