import Buffers

/// Stripes and segments from the published rules, written apart from the code under test.
struct ReferenceGeometry {
  let codec: ReferenceCodec
  /// The groups, as ranges of the flat buffer.
  let groups: [Range<Int>]
  /// The groups of each stripe.
  let stripes: [Range<Int>]
  /// The groups of each segment of each stripe.
  let segments: [[Range<Int>]]

  init(_ layout: TensorLayout, _ codec: ReferenceCodec, rankCount: Int, isShared: Bool) {
    self.codec = codec
    groups = codec.groups(of: layout)
    let sizes = groups.map { codec.byteCount(of: $0.count) }
    stripes = ReferenceGeometry.cut(0..<groups.count, sizes: sizes, into: rankCount)
    var segments: [[Range<Int>]] = []
    for stripe in stripes {
      if stripe.isEmpty {
        segments.append([])
        continue
      }
      let byteCount = sizes[stripe].reduce(0, +)
      let elementCount = groups[stripe].reduce(0) { $0 + $1.count }
      var pieces = 1
      if isShared {
        pieces = max(1, elementCount / 131_072)
      } else if byteCount > 20_480 {
        let length = codec == .none ? 53_248 : 17_408
        pieces = (byteCount + length - 1) / length
      }
      segments.append(ReferenceGeometry.cut(stripe, sizes: sizes, into: pieces))
    }
    self.segments = segments
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
    guard stripes.count > 1 else { return traffic }
    let own = byteCount(stripes[rank])
    for peer in stripes.indices where peer != rank {
      let messages = segments[peer].count + segments[rank].count
      // Stage 1: my part of the peer's stripe goes, the peer's part of mine comes. Stage 2: the sums, the other way round.
      let payload = byteCount(stripes[peer]) + own
      traffic.messages += messages
      if isOnSameHost(peer) { traffic.hostBytes += payload } else { traffic.networkBytes += payload + 64 * messages }
    }
    traffic.plainGroups = groups.count { codec.isPlain($0.count) } + groups[stripes[rank]].count { codec.isPlain($0.count) }
    return traffic
  }
}

/// What one rank sends, and as much receives.
struct ReferenceTraffic: Hashable {
  var networkBytes = 0
  var hostBytes = 0
  var messages = 0
  var plainGroups = 0
  var bytes: Int { networkBytes + hostBytes }
}
