import Buffers

/// Shards and segments from the published rules, written apart from the code under test.
struct ReferenceGeometry {
  let codec: ReferenceCodec
  /// The groups, as ranges of the flat buffer.
  let groups: [Range<Int>]
  /// Whether each group is a value that travels as a float by order, not because its code would be no smaller.
  private let isPlain: [Bool]
  /// The groups of each shard, a range for each bucket.
  let shards: [[Range<Int>]]
  /// The groups of each segment of each shard.
  let segments: [[Range<Int>]]

  init(_ layout: TensorLayout, _ codec: ReferenceCodec, rankCount: Int, isShared: Bool) {
    self.codec = codec
    groups = codec.groups(of: layout)
    isPlain = groups.map { layout.tensor(at: $0.lowerBound)?.kind == .raw }
    let sizes = groups.map { codec.byteCount(of: $0.count) }
    let groups = groups
    // The usual length of a piece: values in a window, bytes of a message.
    let length = isShared ? 131_072 : codec == .none ? 53_248 : 17_408
    var running = [0]
    for group in groups.indices { running.append(running[group] + (isShared ? groups[group].count : sizes[group])) }
    func weight(_ range: Range<Int>) -> Int { running[range.upperBound] - running[range.lowerBound] }
    // Buckets: whole tensors until each rank's shard is worth a piece; a tensor under an eighth of that stays with the last.
    var buckets: [Range<Int>] = []
    var bucket = 0..<0
    for (index, tensor) in layout.tensors.enumerated() {
      func end(of tensor: Tensor, from start: Int) -> Int {
        var end = start
        while end < groups.count && groups[end].lowerBound < tensor.range.upperBound { end += 1 }
        return end
      }
      let bucketEnd = end(of: tensor, from: bucket.upperBound)
      bucket = bucket.lowerBound..<bucketEnd
      let rest = bucketEnd..<groups.count
      let isLast = index + 1 == layout.tensors.count
      let nextWeight = isLast ? 0 : weight(bucketEnd..<end(of: layout.tensors[index + 1], from: bucketEnd))
      let least = rankCount * length
      if isLast || (weight(bucket) >= least && weight(rest) >= least && nextWeight >= least / 8) {
        buckets.append(bucket)
        bucket = bucket.upperBound..<bucket.upperBound
      }
    }
    let cuts = buckets.map { ReferenceGeometry.cut($0, sizes: sizes, into: rankCount) }
    shards = (0..<rankCount).map { rank in cuts.map { $0[rank] } }
    segments = shards.map { shard in
      shard.flatMap { part -> [Range<Int>] in
        if part.isEmpty { return [] }
        let byteCount = sizes[part].reduce(0, +)
        var pieces = 1
        if isShared {
          pieces = max(1, groups[part].reduce(0) { $0 + $1.count } / 131_072)
        } else if byteCount > 20_480 {
          pieces = (byteCount + length - 1) / length
        }
        return ReferenceGeometry.cut(part, sizes: sizes, into: pieces)
      }
    }
  }

  /// Cuts units so that each cut is as near to its share of the bytes as it can be; the earlier of two equally near ones.
  static func cut(_ units: Range<Int>, sizes: [Int], into parts: Int) -> [Range<Int>] {
    let total = sizes[units].reduce(0, +)
    var running = [0]
    for unit in units { running.append(running.last! + sizes[unit]) }
    var start = 0
    return (1...parts).map { part in
      var best = start
      for candidate in start..<running.count {
        let distance = abs(running[candidate] * parts - total * part)
        if distance < abs(running[best] * parts - total * part) { best = candidate }
      }
      defer { start = best }
      return units.lowerBound + start..<units.lowerBound + best
    }
  }

  /// The values of the shard of a rank, ascending.
  func owned(by rank: Int) -> [Int] { shards[rank].flatMap { elements($0) } }

  /// The values of some groups.
  func elements(_ range: Range<Int>) -> Range<Int> {
    guard let first = range.first, let last = range.last else {
      let start = range.lowerBound < groups.count ? groups[range.lowerBound].lowerBound : groups.last?.upperBound ?? 0
      return start..<start
    }
    return groups[first].lowerBound..<groups[last].upperBound
  }

  /// The bytes of the codes of some groups.
  func byteCount(_ range: Range<Int>) -> Int { groups[range].reduce(0) { $0 + codec.byteCount(of: $1.count) } }

  /// What one rank sends and receives in an exchange: (network, host) bytes and messages, from the format alone.
  func traffic(of rank: Int, isOnSameHost: (Int) -> Bool) -> ReferenceTraffic {
    var traffic = ReferenceTraffic()
    guard shards.count > 1 else { return traffic }
    func shardByteCount(_ rank: Int) -> Int { shards[rank].reduce(0) { $0 + byteCount($1) } }
    let own = shardByteCount(rank)
    for peer in shards.indices where peer != rank {
      let messages = segments[peer].count + segments[rank].count
      // Stage 1: my part of the peer's shard goes, the peer's part of mine comes. Stage 2: the sums, the other way round.
      let payload = shardByteCount(peer) + own
      traffic.messages += messages
      if isOnSameHost(peer) { traffic.hostBytes += payload } else { traffic.networkBytes += payload + 64 * messages }
    }
    traffic.rawGroups = groups.indices.count(where: isRaw) + shards[rank].joined().count(where: isRaw)
    return traffic
  }

  /// Whether a group is sent as floats because its code would be no smaller.
  func isRaw(_ group: Int) -> Bool { codec.isRaw(groups[group].count) && !isPlain[group] }
}

/// What one rank sends, and as much receives.
struct ReferenceTraffic: Hashable {
  var networkBytes = 0
  var hostBytes = 0
  var messages = 0
  var rawGroups = 0
  var bytes: Int { networkBytes + hostBytes }
}
