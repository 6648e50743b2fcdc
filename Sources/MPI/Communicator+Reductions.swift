internal import CMPI

// Operations that combine the values of all ranks element by element. Counts are equal on all ranks; what MPI cannot count in
// one call is split into pieces.
extension Communicator {
  /// Replaces the values with the combination of those of all ranks, on all ranks.
  ///
  /// The corresponding C function is `MPI_Allreduce` in place.
  public func allReduce<T: Datatype>(_ buffer: UnsafeMutableBufferPointer<T>, _ operation: Operation<T>) throws {
    guard let backing = try backing else { return }
    let (type, mpiOperation) = try operation.handles
    try LargeCount.pieces(of: buffer.count) { piece in
      let code = MPI_Allreduce(
        CMPI_IN_PLACE(), buffer.baseAddress! + piece.lowerBound, CInt(piece.count), type, mpiOperation, backing)
      try check(code, "MPI_Allreduce")
    }
    withExtendedLifetime(operation) {}
  }

  /// Replaces the values with the combination of those of all ranks, on all ranks.
  ///
  /// The corresponding C function is `MPI_Allreduce` in place.
  public func allReduce<T: Datatype>(_ values: inout [T], _ operation: Operation<T>) throws {
    guard try !isLocal else { return }
    try values.withUnsafeMutableBufferPointer { try allReduce($0, operation) }
  }

  /// Returns the combination of the values of all ranks, on all ranks.
  ///
  /// The corresponding C function is `MPI_Allreduce`.
  public func allReduce<T: Datatype>(_ value: T, _ operation: Operation<T>) throws -> T {
    guard try !isLocal else { return value }
    return try withValue(value) {
      try allReduce($0, operation)
      return $0[0]
    }
  }

  /// Combines the values of all ranks at `root`.
  ///
  /// The corresponding C function is `MPI_Reduce`.
  ///
  /// - Parameters:
  ///   - source: this rank's values.
  ///   - buffer: at `root`, room for the same number of values; ignored elsewhere.
  ///   - operation: how to combine.
  ///   - root: the rank that gets the result.
  public func reduce<T: Datatype>(
    _ source: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>?, _ operation: Operation<T>, root: Int = 0
  ) throws {
    try requireRoot(root)
    if rank == root { try requireRoom(buffer?.count ?? 0, for: source.count) }
    guard let backing = try backing else { return copyValues(source, to: buffer ?? .empty) }
    let (type, mpiOperation) = try operation.handles
    try LargeCount.pieces(of: source.count) { piece in
      let code = MPI_Reduce(
        source.baseAddress! + piece.lowerBound, buffer?.baseAddress.map { $0 + piece.lowerBound }, CInt(piece.count), type,
        mpiOperation, CInt(root), backing)
      try check(code, "MPI_Reduce")
    }
    withExtendedLifetime(operation) {}
  }

  /// Returns the combination of the values of all ranks at `root`; nil elsewhere.
  ///
  /// The corresponding C function is `MPI_Reduce`.
  public func reduce<T: Datatype>(_ values: [T], _ operation: Operation<T>, root: Int = 0) throws -> [T]? {
    try values.withUnsafeBufferPointer { source in
      guard rank == root else {
        try reduce(source, into: nil, operation, root: root)
        return nil
      }
      return try [T](unsafeUninitializedCapacity: source.count) { buffer, initialized in
        try reduce(source, into: buffer, operation, root: root)
        initialized = source.count
      }
    }
  }

  /// Combines the values of all ranks and gives each rank one range of the result.
  ///
  /// The corresponding C function is `MPI_Reduce_scatter`.
  ///
  /// - Parameters:
  ///   - source: this rank's values.
  ///   - block: room for this rank's range of the result.
  ///   - ranges: the range of each rank; consecutive, together all of `source`.
  ///   - operation: how to combine.
  public func reduceScatter<T: Datatype>(
    _ source: UnsafeBufferPointer<T>, into block: UnsafeMutableBufferPointer<T>, ranges: [Range<Int>],
    _ operation: Operation<T>
  ) throws {
    try requireConsecutive(ranges, source.count)
    try requireRoom(block.count, for: ranges[rank].count)
    guard let backing = try backing else { return copyValues(source, to: block) }
    guard source.count > 0 else { return }
    let (type, mpiOperation) = try operation.handles
    if let blocks = Blocks(ranges) {
      let code = MPI_Reduce_scatter(
        source.baseAddress, block.baseAddress, blocks.counts, type, mpiOperation, backing)
      try check(code, "MPI_Reduce_scatter")
    } else {
      for (root, range) in ranges.enumerated() {
        let part = UnsafeBufferPointer(rebasing: source[range])
        try reduce(part, into: rank == root ? block : nil, operation, root: root)
      }
    }
    withExtendedLifetime(operation) {}
  }

  /// Combines the values of all ranks and returns this rank's range of the result.
  ///
  /// The corresponding C function is `MPI_Reduce_scatter`.
  public func reduceScatter<T: Datatype>(_ values: [T], ranges: [Range<Int>], _ operation: Operation<T>) throws -> [T] {
    try requireConsecutive(ranges, values.count)
    let mine = ranges[rank].count
    return try [T](unsafeUninitializedCapacity: mine) { block, initialized in
      let block = UnsafeMutableBufferPointer(rebasing: block[..<mine])
      try values.withUnsafeBufferPointer { try reduceScatter($0, into: block, ranges: ranges, operation) }
      initialized = mine
    }
  }

  /// Combines the values of all ranks, cuts the result into equal blocks and returns this rank's block.
  ///
  /// The corresponding C function is `MPI_Reduce_scatter`.
  public func reduceScatter<T: Datatype>(_ values: [T], _ operation: Operation<T>) throws -> [T] {
    try requireEqualBlocks(values.count)
    let ranges = consecutiveRanges(Array(repeating: values.count / count, count: count))
    return try reduceScatter(values, ranges: ranges, operation)
  }

  /// Replaces the values with the combination of those of all ranks up to and including this one.
  ///
  /// The corresponding C function is `MPI_Scan`.
  public func scan<T: Datatype>(_ values: inout [T], _ operation: Operation<T>) throws {
    guard let backing = try backing else { return }
    let (type, mpiOperation) = try operation.handles
    try values.withUnsafeMutableBufferPointer { buffer in
      try LargeCount.pieces(of: buffer.count) { piece in
        let code = MPI_Scan(
          CMPI_IN_PLACE(), buffer.baseAddress! + piece.lowerBound, CInt(piece.count), type, mpiOperation, backing)
        try check(code, "MPI_Scan")
      }
    }
    withExtendedLifetime(operation) {}
  }

  /// Returns the combination of the values of all ranks up to and including this one.
  ///
  /// The corresponding C function is `MPI_Scan`.
  public func scan<T: Datatype>(_ value: T, _ operation: Operation<T>) throws -> T {
    var values = [value]
    try scan(&values, operation)
    return values[0]
  }

  /// Replaces the values with the combination of those of all ranks before this one; on rank 0, with `initial`.
  ///
  /// The corresponding C function is `MPI_Exscan`.
  public func exclusiveScan<T: Datatype>(_ values: inout [T], _ operation: Operation<T>, initial: T) throws {
    if let backing = try backing {
      let (type, mpiOperation) = try operation.handles
      try values.withUnsafeMutableBufferPointer { buffer in
        try LargeCount.pieces(of: buffer.count) { piece in
          let code = MPI_Exscan(
            CMPI_IN_PLACE(), buffer.baseAddress! + piece.lowerBound, CInt(piece.count), type, mpiOperation, backing)
          try check(code, "MPI_Exscan")
        }
      }
      withExtendedLifetime(operation) {}
    }
    if rank == 0 { values = Array(repeating: initial, count: values.count) }
  }

  /// Returns the combination of the values of all ranks before this one; on rank 0, `initial`.
  ///
  /// The corresponding C function is `MPI_Exscan`.
  public func exclusiveScan<T: Datatype>(_ value: T, _ operation: Operation<T>, initial: T) throws -> T {
    var values = [value]
    try exclusiveScan(&values, operation, initial: initial)
    return values[0]
  }
}
