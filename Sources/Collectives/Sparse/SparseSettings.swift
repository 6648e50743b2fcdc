internal import Buffers
internal import Codecs
internal import Transport

/// The sizes that sparse aggregations share, read from their specification.
struct SparseSettings {
  /// As it was written.
  let specification: String
  /// How values are dealt.
  let shards: ShardMap
  /// The values that are recovered of each shard.
  let k: [Int]
  /// The values that are recovered of all shards together.
  let total: Int
  /// Whether momentum is forgotten where something was sent.
  let masksMomentum: Bool

  /// Settings for `count` parameters; `columns` of a sketch say how many shards there may be.
  init(_ specification: Specification, count: Int, columns: Int? = nil) throws {
    self.specification = specification.description
    let amount = try specification.amount("k", default: "1/100")
    let total = amount.count(of: count)
    guard total <= count || count == 0 else {
      throw SpecificationError("'\(specification)': k = \(total) is more than the \(count) parameters")
    }
    // Shards are large enough that each keeps at least 1024 columns.
    let most = max(1, (columns ?? count) / 1024)
    let shardCount = try specification.integer("shards", default: min(64, most), in: 1...65_536)
    let map = ShardMap(count: count, shardCount: shardCount)
    let ends = (0..<shardCount).reduce(into: [0]) { $0.append($0.last! + map.count(of: $1)) }
    shards = map
    self.total = total
    k = (0..<shardCount).map { shard in
      func share(_ end: Int) -> Int { count == 0 ? 0 : Int((Double(end) * Double(total) / Double(count)).rounded()) }
      let size = map.count(of: shard)
      return min(size, max(size > 0 ? 1 : 0, share(ends[shard + 1]) - share(ends[shard])))
    }
    masksMomentum = try specification.flag("mask", default: 10 * total <= count)
  }
}
