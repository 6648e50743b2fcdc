internal import CMPI

extension Communicator {
  /// Gathers the blocks of all ranks, of equal counts, one after another on every rank.
  ///
  /// The corresponding C function is `MPI_Allgather`.
  public func allGather<T: Datatype>(_ block: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>) throws {
    try requireRoom(buffer.count, for: block.count * count)
    guard let backing = try backing else { return copyValues(block, to: buffer) }
    guard block.count > 0 else { return }
    let type = try blockType(T.elementType, count: block.count)
    defer { type.release() }
    let code = MPI_Allgather(
      block.baseAddress, type.count, type.type, buffer.baseAddress, type.count, type.type, backing)
    try check(code, "MPI_Allgather")
  }

  /// Completes a buffer of equal blocks, one for each rank, in which each rank has set its own.
  ///
  /// The corresponding C function is `MPI_Allgather` in place.
  public func allGather<T: Datatype>(inPlace buffer: UnsafeMutableBufferPointer<T>) throws {
    try requireEqualBlocks(buffer.count)
    guard let backing = try backing, buffer.count > 0 else { return }
    let type = try blockType(T.elementType, count: buffer.count / count)
    defer { type.release() }
    let code = MPI_Allgather(
      CMPI_IN_PLACE(), type.count, type.type, buffer.baseAddress, type.count, type.type, backing)
    try check(code, "MPI_Allgather")
  }

  /// Returns the values of all ranks, of equal counts, concatenated.
  ///
  /// The corresponding C function is `MPI_Allgather`.
  public func allGather<T: Datatype>(_ values: [T]) throws -> [T] {
    guard try !isLocal else { return values }
    return try [T](unsafeUninitializedCapacity: values.count * count) { buffer, initialized in
      try values.withUnsafeBufferPointer { try allGather($0, into: buffer) }
      initialized = values.count * count
    }
  }

  /// Returns the value of each rank.
  ///
  /// The corresponding C function is `MPI_Allgather`.
  public func allGather<T: Datatype>(_ value: T) throws -> [T] { try allGather([value]) }

  /// Gathers blocks of any counts on every rank.
  ///
  /// The corresponding C function is `MPI_Allgatherv`.
  ///
  /// - Parameters:
  ///   - block: this rank's values; nil if they are already in place in `buffer`.
  ///   - buffer: where the blocks go.
  ///   - ranges: the range of each rank's block in `buffer`, the same on all ranks.
  public func allGather<T: Datatype>(
    varying block: UnsafeBufferPointer<T>?, into buffer: UnsafeMutableBufferPointer<T>, ranges: [Range<Int>]
  ) throws {
    try requireBlocks(block?.count, buffer.count, ranges)
    guard let backing = try backing else {
      if let block { copyValues(block, to: UnsafeMutableBufferPointer(rebasing: buffer[ranges[0]])) }
      return
    }
    let type = try T.elementType.handle
    if let blocks = Blocks(ranges) {
      let code = MPI_Allgatherv(
        block.map { UnsafeRawPointer($0.baseAddress) } ?? UnsafeRawPointer(CMPI_IN_PLACE()), CInt(ranges[rank].count), type,
        buffer.baseAddress, blocks.counts, blocks.displacements, type, backing)
      try check(code, "MPI_Allgatherv")
    } else {
      let own = UnsafeMutableBufferPointer(rebasing: buffer[ranges[rank]])
      if let block { copyValues(block, to: own) }
      let (source, part) = sourceApart(own, from: buffer)
      try allToAll(source, ranges.map { _ in part }, into: buffer, ranges, skippingOwn: true)
    }
  }

  /// Returns the values of each rank, of any count.
  ///
  /// The corresponding C function is `MPI_Allgatherv`, after an exchange of the counts.
  public func allGather<T: Datatype>(varying values: [T]) throws -> [[T]] {
    guard try !isLocal else { return [values] }
    let ranges = consecutiveRanges(try allGather(values.count))
    let total = ranges.last!.upperBound
    let flat = try [T](unsafeUninitializedCapacity: total) { buffer, initialized in
      let buffer = UnsafeMutableBufferPointer(rebasing: buffer[..<total])
      try values.withUnsafeBufferPointer { try allGather(varying: $0, into: buffer, ranges: ranges) }
      initialized = total
    }
    return cut(flat, at: ranges)
  }

  /// The values of `own`, addressed from a pointer that differs from that of `buffer`.
  ///
  /// Open MPI 4.1 treats equal addresses as an operation in place (non-blocking forms), though the MPI standard does not. One
  /// element before the buffer serves as well: nothing is read there.
  func sourceApart<T: Datatype>(
    _ own: UnsafeMutableBufferPointer<T>, from buffer: UnsafeMutableBufferPointer<T>
  ) -> (source: UnsafeBufferPointer<T>, range: Range<Int>) {
    guard let start = own.baseAddress, start == buffer.baseAddress else { return (UnsafeBufferPointer(own), 0..<own.count) }
    return (UnsafeBufferPointer(start: start - 1, count: own.count + 1), 1..<own.count + 1)
  }
}
