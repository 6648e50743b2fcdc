internal import Buffers

/// Deals the values of a flat buffer to shards: blocks of 1024 in turn, so that every shard sees every large tensor.
///
/// A pure function of the two counts. A shard is what a linear code sees of a gradient at a time; with as many shards on
/// every number of ranks, what is sent and recovered does not depend on who owns a shard.
public struct ShardMap: Hashable, Sendable {
  /// The values of a block; the last may have fewer.
  public static let blockLength = 1024

  /// The values of the flat buffer.
  public let count: Int
  /// The number of shards.
  public let shardCount: Int

  /// Deals `count` values to `shardCount` shards, of which some may be empty.
  public init(count: Int, shardCount: Int) {
    require(count >= 0 && shardCount > 0, "values are dealt to one shard at least")
    (self.count, self.shardCount) = (count, shardCount)
  }

  private var blockCount: Int { (count + Self.blockLength - 1) / Self.blockLength }

  /// The values of a shard.
  public func count(of shard: Int) -> Int {
    let blocks = shard < blockCount ? (blockCount - 1 - shard) / shardCount + 1 : 0
    let missing = blockCount * Self.blockLength - count
    return blocks * Self.blockLength - (blocks > 0 && (blockCount - 1) % shardCount == shard ? missing : 0)
  }

  /// Where the values of a shard lie in the flat buffer, in the shard's order.
  public func ranges(of shard: Int) -> [Range<Int>] {
    stride(from: shard, to: blockCount, by: shardCount).map {
      $0 * Self.blockLength..<min(($0 + 1) * Self.blockLength, count)
    }
  }

  /// Where value `index` of a shard lies in the flat buffer.
  public func place(of index: Int, in shard: Int) -> Int {
    let (block, offset) = index.quotientAndRemainder(dividingBy: Self.blockLength)
    return (block * shardCount + shard) * Self.blockLength + offset
  }

  /// Copies the values of a shard from the flat buffer, one after another.
  public func gather(_ shard: Int, from values: UnsafePointer<Float>, into shardValues: UnsafeMutablePointer<Float>) {
    var next = shardValues
    for range in ranges(of: shard) {
      next.update(from: values + range.lowerBound, count: range.count)
      next += range.count
    }
  }
}
