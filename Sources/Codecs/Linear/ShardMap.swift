internal import Buffers

/// Deals the values of a flat buffer to shards: blocks of 1024 in turn, so that every shard has a part of every large tensor.
///
/// It is a pure function of the two counts. A shard is the part of a gradient that a linear code encodes at a time. With the
/// same number of shards on any number of ranks, what is sent and recovered does not depend on who owns a shard.
public struct ShardMap: Hashable, Sendable {
  /// The number of values of a block; the last one may have fewer.
  public static let blockLength = 1024

  /// The number of values of the flat buffer.
  public let count: Int
  /// The number of shards.
  public let shardCount: Int

  /// Deals `count` values to `shardCount` shards, some of which may be empty.
  public init(count: Int, shardCount: Int) {
    require(count >= 0 && shardCount > 0, "values are dealt to one shard at least")
    (self.count, self.shardCount) = (count, shardCount)
  }

  private var blockCount: Int { (count + Self.blockLength - 1) / Self.blockLength }

  /// The number of values of a shard.
  public func count(of shard: Int) -> Int {
    let blocks = shard < blockCount ? (blockCount - 1 - shard) / shardCount + 1 : 0
    let missing = blockCount * Self.blockLength - count
    return blocks * Self.blockLength - (blocks > 0 && (blockCount - 1) % shardCount == shard ? missing : 0)
  }

  /// The ranges of a shard's values in the flat buffer, in the shard's order.
  public func ranges(of shard: Int) -> [Range<Int>] {
    stride(from: shard, to: blockCount, by: shardCount).map {
      $0 * Self.blockLength..<min(($0 + 1) * Self.blockLength, count)
    }
  }

  /// The position of value `index` of a shard in the flat buffer.
  public func place(of index: Int, in shard: Int) -> Int {
    let (block, offset) = index.quotientAndRemainder(dividingBy: Self.blockLength)
    return (block * shardCount + shard) * Self.blockLength + offset
  }

  /// Copies the values of a shard from the flat buffer to contiguous memory.
  public func gather(_ shard: Int, from values: UnsafePointer<Float>, into shardValues: UnsafeMutablePointer<Float>) {
    var next = shardValues
    for range in ranges(of: shard) {
      next.update(from: values + range.lowerBound, count: range.count)
      next += range.count
    }
  }
}
