internal import CMPI

#if canImport(Glibc)
  internal import Glibc
#endif

/// Throws `sentence`, with the name of the called function, if the caller made a mistake.
///
/// The checks come before MPI is called, so that a world of one rank without MPI rejects the same calls with the same message.
@inline(__always)
func require(
  _ condition: Bool, _ errorClass: MPIError.Mistake, _ sentence: @autoclosure () -> String,
  in function: StaticString = #function
) throws {
  if !condition { throw MPIError(errorClass.code, operation: "\(function)", text: sentence()) }
}

/// Ends all ranks with `sentence` if the caller of a function that cannot throw made a mistake.
@inline(__always)
func requireOrStop(_ condition: Bool, _ sentence: @autoclosure () -> String, in function: StaticString = #function) {
  if !condition { stop("\(function): \(sentence())") }
}

@inline(never)
private func stop(_ sentence: String) -> Never {
  Runtime.report(sentence)
  Runtime.abort(status: 70)
}

extension MPIError {
  /// Mistakes that are found before MPI is called, by MPI error class.
  enum Mistake {
    case argument, buffer, count, rank, request, root, tag

    var code: Int32 {
      switch self {
      case .argument: MPI_ERR_ARG
      case .buffer: MPI_ERR_BUFFER
      case .count: MPI_ERR_COUNT
      case .rank: MPI_ERR_RANK
      case .request: MPI_ERR_REQUEST
      case .root: MPI_ERR_ROOT
      case .tag: MPI_ERR_TAG
      }
    }
  }
}

extension Communicator {
  /// Throws unless `rank` belongs to this communicator.
  @inline(__always)
  func requireRank(_ rank: Int, in function: StaticString = #function) throws {
    try require(rank >= 0 && rank < count, .rank, noRank(rank), in: function)
  }

  /// Throws unless `root` is a rank of this communicator.
  @inline(__always)
  func requireRoot(_ root: Int, in function: StaticString = #function) throws {
    try require(root >= 0 && root < count, .root, "the root cannot be \(root): " + noRank(root), in: function)
  }

  /// Throws unless messages can come from `source`.
  @inline(__always)
  func requireSource(_ source: Int, in function: StaticString = #function) throws {
    try require(
      source >= 0 && source < count || source == anySource, .rank, noRank(source) + ", and anySource is \(anySource)",
      in: function)
  }

  /// Throws unless a message can be sent with `tag`.
  @inline(__always)
  func requireTag(_ tag: Int, in function: StaticString = #function) throws {
    try require(
      tag >= 0 && tag <= Runtime.largestTag, .tag, "a message's tag is 0 to \(Runtime.largestTag), not \(tag)", in: function)
  }

  /// Throws unless a message with `tag` can be received.
  @inline(__always)
  func requireReceiveTag(_ tag: Int, in function: StaticString = #function) throws {
    if tag != anyTag { try requireTag(tag, in: function) }
  }

  @inline(never)
  private func noRank(_ rank: Int) -> String {
    "there is no rank \(rank) among \(count)" + (count == 1 ? " (only 0)" : " (0 to \(count - 1))")
  }

  func requireRoom(_ room: Int, for needed: Int, in function: StaticString = #function) throws {
    try require(room >= needed, .buffer, "there is room for \(room) values, but \(needed) arrive", in: function)
  }

  func requireEqualBlocks(_ total: Int, in function: StaticString = #function) throws {
    try require(total % count == 0, .count, "\(total) values cannot be cut into \(count) equal blocks", in: function)
  }

  func requireBlocks(
    _ blockCount: Int?, _ bufferCount: Int, _ ranges: [Range<Int>], in function: StaticString = #function
  ) throws {
    try require(ranges.count == count, .count, "\(ranges.count) ranges for \(count) ranks", in: function)
    for (rank, range) in ranges.enumerated() {
      try require(
        range.lowerBound >= 0 && range.upperBound <= bufferCount, .buffer,
        "the range \(range) of rank \(rank) is outside the \(bufferCount) values", in: function)
    }
    if let blockCount {
      try require(
        blockCount == ranges[rank].count, .count,
        "a block of \(blockCount) values for a range of \(ranges[rank].count)", in: function)
    }
  }

  func requireConsecutive(_ ranges: [Range<Int>], _ total: Int, in function: StaticString = #function) throws {
    try require(ranges.count == count, .count, "\(ranges.count) ranges for \(count) ranks", in: function)
    try require(
      ranges == consecutiveRanges(ranges.map(\.count)) && ranges.last!.upperBound == total, .argument,
      "the ranges are not consecutive or do not cover all \(total) values", in: function)
  }
}
