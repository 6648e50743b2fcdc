internal import Buffers
internal import Codecs

/// The sizes that sparse strategies share, read from their specification.
struct SparseSettings {
  /// As people write it, with every key.
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

extension Specification {
  /// The number or share of key `key`.
  func amount(_ key: String, default standard: String) throws(SpecificationError) -> Amount {
    let text = options[key] ?? standard
    guard let amount = Amount(text) else {
      throw SpecificationError("'\(description)': \(key) is a number from 1 or a share such as 0.05 or 1/20, not '\(text)'")
    }
    return amount
  }

  /// The choice of key `key`.
  func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ key: String, default standard: Choice
  ) throws(SpecificationError) -> Choice {
    guard let text = options[key] else { return standard }
    guard let choice = Choice(rawValue: text) else {
      let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw SpecificationError("'\(description)': \(key) is one of \(known), not '\(text)'")
    }
    return choice
  }
}
