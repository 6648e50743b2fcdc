internal import CMPI

extension Communicator {
  /// Stands in for MPI's communicator of one process in a process without MPI; one object for all callers.
  private static let localSelf = Communicator()

  /// A communicator of this process alone.
  public var alone: Communicator {
    get throws { try isLocal ? Self.localSelf : Communicator(borrowing: CMPI_COMM_SELF()) }
  }

  /// A communicator of the same ranks, whose messages never mix with those of this one.
  ///
  /// Collective. The corresponding C function is `MPI_Comm_dup`.
  public func duplicate() throws -> Communicator {
    guard let backing = try backing else { return Communicator() }
    var made: MPI_Comm?
    try check(MPI_Comm_dup(backing, &made), "MPI_Comm_dup")
    return try Communicator(owning: made!)
  }

  /// A communicator of the ranks that give the same `color`, ordered by `key` and, for equal keys, by their rank here.
  ///
  /// Collective. The corresponding C function is `MPI_Comm_split`.
  ///
  /// - Parameters:
  ///   - color: not negative; nil for a rank that belongs to no group.
  ///   - key: the order within the group.
  /// - Returns: this rank's group; nil without a colour.
  public func split(color: Int?, key: Int = 0) throws -> Communicator? {
    let largest = Int(Int32.max)
    try require(color.map { (0...largest).contains($0) } ?? true, .argument, "a colour is 0 to \(largest), not \(color ?? 0)")
    try require(Int32(exactly: key) != nil, .argument, "a key is \(Int32.min) to \(largest), not \(key)")
    guard let backing = try backing else { return color == nil ? nil : Communicator() }
    var made: MPI_Comm?
    try check(MPI_Comm_split(backing, color.map { CInt($0) } ?? CInt(MPI_UNDEFINED), CInt(key), &made), "MPI_Comm_split")
    guard let made, made != CMPI_COMM_NULL() else { return nil }
    return try Communicator(owning: made)
  }

  /// A communicator of the ranks that give the same `color`.
  ///
  /// Collective. The corresponding C function is `MPI_Comm_split`.
  public func split(color: Int, key: Int = 0) throws -> Communicator { try split(color: .some(color), key: key)! }

  /// A communicator of the ranks that run on this rank's host and can share memory with it, ordered by their rank here.
  ///
  /// Collective. The corresponding C function is `MPI_Comm_split_type`.
  public func splitByHost() throws -> Communicator {
    guard let backing = try backing else { return Communicator() }
    var made: MPI_Comm?
    let kind = CInt(MPI_COMM_TYPE_SHARED)
    try check(MPI_Comm_split_type(backing, kind, 0, CMPI_INFO_NULL(), &made), "MPI_Comm_split_type")
    return try Communicator(owning: made!)
  }
}
