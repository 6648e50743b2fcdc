/// Memory for one matrix that ranks exchange in blocks: each holds consecutive columns for all samples, in row-major order.
///
/// Every rank writes its blocks one after another: the columns c..<d of n samples are at n·c..<n·d. Blocks are contiguous, so
/// that they are sent, read and multiplied in place.
public struct BlockSlot: Hashable, Sendable {
  /// Its contents, for the message that names what is awaited: `the activations of layer 2`.
  public let name: String
  /// The number of columns that each rank writes.
  public let columnCounts: [Int]
  /// Of this rank's columns, those that each rank reads, itself included.
  public let outgoing: [Range<Int>]
  /// Of each rank's columns, those that this rank reads, itself included.
  public let incoming: [Range<Int>]

  /// A slot of these columns; each list has an entry for every rank.
  public init(_ name: String, columnCounts: [Int], outgoing: [Range<Int>], incoming: [Range<Int>]) {
    require(
      outgoing.count == columnCounts.count && incoming.count == columnCounts.count
        && zip(columnCounts, incoming).allSatisfy { $1.upperBound <= $0 },
      "the blocks of \(name) are not those of its columns")
    self.name = name
    self.columnCounts = columnCounts
    self.outgoing = outgoing
    self.incoming = incoming
  }
}
