internal import CMPI

extension Communicator {
  /// Sends block *j* of this rank's buffer to rank *j* and receives a block from each rank; all have equal counts.
  ///
  /// The corresponding C function is `MPI_Alltoall`.
  public func allToAll<T: Datatype>(_ source: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>) throws {
    try requireEqualBlocks(source.count)
    try requireRoom(buffer.count, for: source.count)
    guard let backing = try backing else { return copyValues(source, to: buffer) }
    guard source.count > 0 else { return }
    let type = try blockType(T.elementType, count: source.count / count)
    defer { type.release() }
    let code = MPI_Alltoall(
      source.baseAddress, type.count, type.type, buffer.baseAddress, type.count, type.type, backing)
    try check(code, "MPI_Alltoall")
  }

  /// Sends block *j* of `values` to rank *j* and returns the blocks sent to this rank, in rank order.
  ///
  /// The corresponding C function is `MPI_Alltoall`.
  public func allToAll<T: Datatype>(_ values: [T]) throws -> [T] {
    try [T](unsafeUninitializedCapacity: values.count) { buffer, initialized in
      try values.withUnsafeBufferPointer { try allToAll($0, into: buffer) }
      initialized = values.count
    }
  }

  /// Sends a range of values to each rank and receives a range from each; counts may differ.
  ///
  /// The corresponding C function is `MPI_Alltoallw`, which reaches ranges that `MPI_Alltoallv` cannot count.
  ///
  /// - Parameters:
  ///   - source: the values to send.
  ///   - sourceRanges: the range to send to each rank.
  ///   - buffer: where received values go.
  ///   - ranges: where the values from each rank go; each has the count that the rank sends.
  public func allToAll<T: Datatype>(
    varying source: UnsafeBufferPointer<T>, ranges sourceRanges: [Range<Int>], into buffer: UnsafeMutableBufferPointer<T>,
    ranges: [Range<Int>]
  ) throws {
    try requireBlocks(nil, source.count, sourceRanges)
    try requireBlocks(nil, buffer.count, ranges)
    try require(
      sourceRanges[rank].count == ranges[rank].count, .count,
      "rank \(rank) sends itself \(sourceRanges[rank].count) values and expects \(ranges[rank].count)")
    // Open MPI 4.1 multiplies the displacements of a single rank by the size of a value.
    guard try !isLocal, count > 1 else {
      return copyValues(
        UnsafeBufferPointer(rebasing: source[sourceRanges[0]]), to: UnsafeMutableBufferPointer(rebasing: buffer[ranges[0]]))
    }
    try allToAll(source, sourceRanges, into: buffer, ranges)
  }

  /// Sends array *j* to rank *j* and returns the array that each rank sent to this one.
  ///
  /// The corresponding C function is `MPI_Alltoallw`, after an exchange of the counts.
  public func allToAll<T: Datatype>(varying arrays: [[T]]) throws -> [[T]] {
    try require(arrays.count == count, .count, "\(arrays.count) arrays cannot be sent to \(count) ranks")
    guard try !isLocal else { return arrays }
    let sourceRanges = consecutiveRanges(arrays.map(\.count))
    let ranges = consecutiveRanges(try allToAll(arrays.map(\.count)))
    let total = ranges.last!.upperBound
    let flat = try [T](unsafeUninitializedCapacity: total) { buffer, initialized in
      let buffer = UnsafeMutableBufferPointer(rebasing: buffer[..<total])
      try flattened(arrays).withUnsafeBufferPointer { try allToAll($0, sourceRanges, into: buffer, ranges) }
      initialized = total
    }
    return cut(flat, at: ranges)
  }

  /// The only place that calls MPI with a datatype for each block.
  ///
  /// With `skippingOwn`, this rank's own block is left unchanged.
  func allToAll<T: Datatype>(
    _ source: UnsafeBufferPointer<T>, _ sourceRanges: [Range<Int>], into buffer: UnsafeMutableBufferPointer<T>,
    _ ranges: [Range<Int>], skippingOwn: Bool = false
  ) throws {
    let skipping = skippingOwn ? rank : nil
    let stride = MemoryLayout<T>.stride
    let sent = try TypedBlocks(T.elementType, stride: stride, ranges: sourceRanges, skipping: skipping)
    let received = try TypedBlocks(T.elementType, stride: stride, ranges: ranges, skipping: skipping)
    let code = try MPI_Alltoallw(
      source.baseAddress, sent.counts, sent.displacements, sent.types, buffer.baseAddress, received.counts,
      received.displacements, received.types, handle)
    // They own datatypes that the call uses.
    withExtendedLifetime((sent, received)) {}
    try check(code, "MPI_Alltoallw")
  }
}
