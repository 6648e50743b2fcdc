internal import CMPI

// Operations that all ranks of a communicator call in the same order, with the same counts of values. Forms that take pointers
// do not copy the values.
extension Communicator {
  /// Waits until all ranks have called it.
  ///
  /// The corresponding C function is `MPI_Barrier`.
  public func barrier() throws {
    guard let backing = try backing else { return }
    try check(MPI_Barrier(backing), "MPI_Barrier")
  }

  /// Copies the values of `root` to all ranks; the counts are equal.
  ///
  /// The corresponding C function is `MPI_Bcast`.
  public func broadcast<T: Datatype>(_ buffer: UnsafeMutableBufferPointer<T>, root: Int = 0) throws {
    try requireRoot(root)
    guard let backing = try backing, buffer.count > 0 else { return }
    let type = try CountedType(T.elementType, count: buffer.count)
    defer { type.release() }
    try check(MPI_Bcast(buffer.baseAddress, type.count, type.type, CInt(root), backing), "MPI_Bcast")
  }

  /// Copies the values of `root` to all ranks; the counts are equal.
  ///
  /// The corresponding C function is `MPI_Bcast`.
  public func broadcast<T: Datatype>(_ values: inout [T], root: Int = 0) throws {
    try requireRoot(root)
    guard try !isLocal else { return }
    try values.withUnsafeMutableBufferPointer { try broadcast($0, root: root) }
  }

  /// Returns the value of `root` on all ranks.
  ///
  /// The corresponding C function is `MPI_Bcast`.
  public func broadcast<T: Datatype>(_ value: T, root: Int = 0) throws -> T {
    try withValue(value) {
      try broadcast($0, root: root)
      return $0[0]
    }
  }

  /// Returns the values of `root` on all ranks; the other ranks need not know the count.
  ///
  /// The corresponding C function is `MPI_Bcast`, called once for the count and once for the values.
  public func broadcast<T: Datatype>(varying values: [T], root: Int = 0) throws -> [T] {
    try requireRoot(root)
    guard try !isLocal else { return values }
    let count = try broadcast(values.count, root: root)
    if rank == root {
      var values = values
      try broadcast(&values, root: root)
      return values
    }
    return try [T](unsafeUninitializedCapacity: count) { buffer, initialized in
      try broadcast(UnsafeMutableBufferPointer(rebasing: buffer[..<count]), root: root)
      initialized = count
    }
  }

  /// Gathers the blocks of all ranks, of equal counts, one after another at `root`.
  ///
  /// The corresponding C function is `MPI_Gather`.
  ///
  /// - Parameters:
  ///   - block: this rank's values.
  ///   - buffer: at `root`, room for the blocks of all ranks; ignored elsewhere.
  ///   - root: the rank that gathers.
  public func gather<T: Datatype>(
    _ block: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>?, root: Int = 0
  ) throws {
    try requireRoot(root)
    if rank == root { try requireRoom(buffer?.count ?? 0, for: block.count * count) }
    guard let backing = try backing else { return copyValues(block, to: buffer ?? .empty) }
    guard block.count > 0 else { return }
    let type = try blockType(T.elementType, count: block.count)
    defer { type.release() }
    let code = MPI_Gather(
      block.baseAddress, type.count, type.type, buffer?.baseAddress, type.count, type.type, CInt(root), backing)
    try check(code, "MPI_Gather")
  }

  /// Returns the values of all ranks, of equal counts, concatenated at `root`; nil elsewhere.
  ///
  /// The corresponding C function is `MPI_Gather`.
  public func gather<T: Datatype>(_ values: [T], root: Int = 0) throws -> [T]? {
    try values.withUnsafeBufferPointer { block in
      guard rank == root else {
        try gather(block, into: nil, root: root)
        return nil
      }
      return try [T](unsafeUninitializedCapacity: block.count * count) { buffer, initialized in
        try gather(block, into: buffer, root: root)
        initialized = block.count * count
      }
    }
  }

  /// Returns the values of each rank, of any count, at `root`; nil elsewhere.
  ///
  /// The corresponding C function is `MPI_Gatherv`, after an exchange of the counts.
  public func gather<T: Datatype>(varying values: [T], root: Int = 0) throws -> [[T]]? {
    try requireRoot(root)
    guard let backing = try backing else { return [values] }
    let ranges = consecutiveRanges(try allGather(values.count))
    let total = rank == root ? ranges.last!.upperBound : 0
    let flat = try [T](unsafeUninitializedCapacity: total) { buffer, initialized in
      let type = try T.elementType.handle
      try values.withUnsafeBufferPointer { block in
        if let blocks = Blocks(ranges) {
          let code = MPI_Gatherv(
            block.baseAddress, CInt(block.count), type, buffer.baseAddress, blocks.counts, blocks.displacements, type,
            CInt(root), backing)
          try check(code, "MPI_Gatherv")
        } else {
          let whole = 0..<block.count
          try allToAll(
            block, (0..<count).map { $0 == root ? whole : 0..<0 }, into: buffer,
            rank == root ? ranges : ranges.map { _ in 0..<0 })
        }
      }
      initialized = total
    }
    return rank == root ? cut(flat, at: ranges) : nil
  }

  /// Distributes consecutive blocks of the buffer at `root`, of equal counts, to the ranks.
  ///
  /// The corresponding C function is `MPI_Scatter`.
  ///
  /// - Parameters:
  ///   - buffer: at `root`, the blocks of all ranks; ignored elsewhere.
  ///   - block: room for this rank's block.
  ///   - root: the rank that scatters.
  public func scatter<T: Datatype>(
    _ buffer: UnsafeBufferPointer<T>?, into block: UnsafeMutableBufferPointer<T>, root: Int = 0
  ) throws {
    try requireRoot(root)
    if rank == root {
      try require(
        buffer?.count ?? 0 == block.count * count, .count,
        "\(buffer?.count ?? 0) values at the root are not \(count) blocks of \(block.count)")
    }
    guard let backing = try backing else { return copyValues(buffer ?? .empty, to: block) }
    guard block.count > 0 else { return }
    let type = try blockType(T.elementType, count: block.count)
    defer { type.release() }
    let code = MPI_Scatter(
      buffer?.baseAddress, type.count, type.type, block.baseAddress, type.count, type.type, CInt(root), backing)
    try check(code, "MPI_Scatter")
  }

  /// Returns this rank's block of the values at `root`, which are cut into equal blocks; other ranks' values are ignored.
  ///
  /// The corresponding C function is `MPI_Scatter`, after a broadcast of the count.
  public func scatter<T: Datatype>(_ values: [T], root: Int = 0) throws -> [T] {
    try requireRoot(root)
    if rank == root { try requireEqualBlocks(values.count) }
    let blockCount = try broadcast(values.count, root: root) / count
    return try [T](unsafeUninitializedCapacity: blockCount) { block, initialized in
      let block = UnsafeMutableBufferPointer(rebasing: block[..<blockCount])
      try values.withUnsafeBufferPointer { try scatter(rank == root ? $0 : nil, into: block, root: root) }
      initialized = blockCount
    }
  }

  /// Returns this rank's array out of those at `root`, one for each rank; other ranks' arrays are ignored.
  ///
  /// The corresponding C function is `MPI_Scatterv`, after a broadcast of the counts.
  public func scatter<T: Datatype>(varying arrays: [[T]], root: Int = 0) throws -> [T] {
    try requireRoot(root)
    if rank == root {
      try require(arrays.count == count, .count, "\(arrays.count) arrays cannot be scattered to \(count) ranks")
    }
    guard let backing = try backing else { return arrays[0] }
    var counts = rank == root ? arrays.map(\.count) : Array(repeating: 0, count: count)
    try broadcast(&counts, root: root)
    let ranges = consecutiveRanges(counts)
    let flat = rank == root ? flattened(arrays) : []
    let mine = counts[rank]
    return try [T](unsafeUninitializedCapacity: mine) { block, initialized in
      let type = try T.elementType.handle
      try flat.withUnsafeBufferPointer { buffer in
        if let blocks = Blocks(ranges) {
          let code = MPI_Scatterv(
            buffer.baseAddress, blocks.counts, blocks.displacements, type, block.baseAddress, CInt(mine), type, CInt(root),
            backing)
          try check(code, "MPI_Scatterv")
        } else {
          try allToAll(
            buffer, rank == root ? ranges : ranges.map { _ in 0..<0 }, into: block,
            (0..<count).map { $0 == root ? 0..<mine : 0..<0 })
        }
      }
      initialized = mine
    }
  }

  /// The datatype of one of the ranks' equal blocks of `count` values: all blocks together may exceed what MPI can count.
  func blockType(_ elementType: ElementType, count: Int) throws -> CountedType {
    try CountedType(elementType.handle, count: count, isLarge: count > LargeCount.limit / self.count)
  }
}
