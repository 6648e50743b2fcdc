internal import Buffers
internal import Codecs
internal import Transport

/// The sizes that sparse aggregations share, read from their specification.
struct SparseSettings {
  /// The full specification; without `mask` and `shards`, which follow from the number of parameters, if they were not given.
  let specification: String
  /// The assignment of values to shards.
  let shards: ShardMap
  /// The number of values recovered from each shard.
  let k: [Int]
  /// The number of values recovered from all shards together.
  let total: Int
  /// Whether momentum is cleared where something was sent.
  let masksMomentum: Bool

  /// Creates settings for `count` parameters; the `columns` of a sketch limit the default number of shards.
  init(_ specification: Specification, count: Int, columns: Int? = nil) throws {
    self.specification = specification.description
    let amount = try specification.amount("k", default: "1/100")
    let total = amount.count(of: count)
    guard total <= count || count == 0 else {
      throw SpecificationError("'\(specification)': k = \(total) is more than the \(count) parameters")
    }
    // By default, shards are large enough that each has at least 1024 columns.
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
