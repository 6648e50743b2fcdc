internal import Buffers

/// Encodes every shard as a Count Sketch of its own; a shard whose sketch would be no smaller is sent as it is.
///
/// - Source: algorithms §2.6: columns in proportion to the values, different hash functions for every shard.
/// - Cost: 4rc bytes for all shards together.
public struct SketchCode: LinearCode {
  public let specification: String
  public let shards: ShardMap
  /// The hash functions of each shard; nil if its values are sent as they are.
  public let hashes: [SketchHashes?]

  /// Creates a code with `columns` columns and `rows` rows over all shards together.
  ///
  /// - Throws: `SketchError` if the sizes are invalid.
  public init(
    _ family: SketchHashes.Family, rows: Int, columns: Int, shards: ShardMap, seed: UInt64, specification: String
  ) throws {
    self.specification = specification
    self.shards = shards
    // Largest remainder, so that the columns of all shards add up to the number requested.
    let ends = (0..<shards.shardCount).reduce(into: [0]) { $0.append($0.last! + shards.count(of: $1)) }
      .map { shards.count == 0 ? 0 : Int((Double($0) * Double(columns) / Double(shards.count)).rounded()) }
    let fewest = family == .block ? SketchHashes.fewestBlockColumns : 1
    hashes = try (0..<shards.shardCount).map { shard in
      let columns = max(ends[shard + 1] - ends[shard], fewest)
      guard rows * columns < shards.count(of: shard) else { return nil }
      return try SketchHashes(family, rows: rows, columns: columns, seed: seed, shard: shard)
    }
  }

  public func messageCount(of shard: Int) -> Int {
    hashes[shard].map { $0.rows * $0.columns } ?? shards.count(of: shard)
  }

  public func encode(_ values: UnsafePointer<Float>, of shard: Int, into message: UnsafeMutablePointer<Float>) {
    guard let hashes = hashes[shard] else { return message.update(from: values, count: shards.count(of: shard)) }
    let sketch = CountSketch<Float>(
      hashes, in: ByteBuffer(sharing: UnsafeMutableRawPointer(message), count: 4 * messageCount(of: shard), owner: NoOwner.it))
    sketch.clear()
    sketch.insert(values, count: shards.count(of: shard))
  }
}

/// The owner of memory that outlives its borrowers.
private final class NoOwner: Sendable {
  static let it = NoOwner()
}
