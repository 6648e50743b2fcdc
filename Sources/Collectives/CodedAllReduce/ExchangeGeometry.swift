public import Buffers
public import Codecs
internal import Transport

/// Consecutive groups of one shard that are sent together: a message between hosts, a unit of work within one.
public struct Segment: Sendable {
  /// The shard it belongs to, which is also the rank that owns it.
  public let shard: Int
  /// Its index in the shard.
  public let index: Int
  /// The bucket it belongs to.
  public let bucket: Int
  /// The groups it holds.
  public let groups: Range<Int>
  /// Their values in the flat buffer.
  public let elements: Range<Int>
  /// The offset of its values among those of the shard, laid end to end.
  public let ownedOffset: Int
  /// The offset of its header in a buffer of codes; the payload follows immediately.
  public let headerOffset: Int
  /// The size in bytes of its codes, an upper bound if their lengths vary.
  public let payloadByteCount: Int

  /// The offset of its codes in a buffer of codes.
  public var payloadOffset: Int { headerOffset + MessageHeader.byteCount }
  /// The size in bytes of header and payload, an upper bound if the lengths of codes vary.
  public var messageByteCount: Int { MessageHeader.byteCount + payloadByteCount }
}

/// The owners and the pieces of an exchange: groups, buckets, shards and segments of a layout under a codec.
///
/// It is a pure function of its arguments, the same on every rank. Buckets are runs of whole tensors, in the order in which a
/// backward pass finalizes their gradients, so that one can be exchanged while the next is computed; a small model is one
/// bucket unless the links are known to make more worthwhile. In every bucket rank *j* owns a shard, and all of these together
/// are shard *j*. Shards are balanced by the bytes of their codes over the concatenation of a bucket's tensors, and cut between
/// groups, so that no group's statistics are split. No value depends on which rank owns it.
public struct ExchangeGeometry: Sendable {
  /// The maximum length of a segment.
  public enum SegmentRule: Sendable {
    /// For messages: one up to 20 KB, otherwise pieces of about 17 KB of codes or 52 KB of floats; never above 60 KB, where
    /// Open MPI would switch to a slower protocol.
    case messages
    /// For reading in place: pieces of 512 KiB of fp32, which stay in a core's cache.
    case sharedWindow
  }

  /// Group *g* holds the values `groupStarts[g]..<groupStarts[g + 1]`.
  public let groupStarts: [Int]
  /// The code of group *g* is at `codeStarts[g]..<codeStarts[g + 1]` when codes of maximum length are concatenated.
  public let codeStarts: [Int]
  /// The groups of each bucket.
  public let buckets: [Range<Int>]
  /// The segments of each shard, in the order of the flat buffer.
  public let segments: [[Segment]]
  /// The size in bytes of a buffer for the segments of all shards, headers included.
  public let codeSpaceByteCount: Int
  /// The first group of each tensor, and the total number of groups.
  private let tensorGroups: [Int]
  /// For each group, the end of the run of groups that begins with it (`TensorLayout.runEnds`).
  private let runEnds: [Int]
  /// Whether each group is sent as floats although its tensor is to be encoded, because its code would be no smaller.
  let isRaw: [Bool]
  /// The number of such groups.
  public let rawGroupCount: Int

  /// Creates the geometry of `layout` under `codec` on `rankCount` ranks.
  ///
  /// - Parameters:
  ///   - layout: The tensors.
  ///   - codec: The codec of the gradients.
  ///   - ownership: The codec by whose codes the shards are balanced, with the same grouping except for floats; nil for
  ///     `codec`.
  ///   - rankCount: The number of ranks.
  ///   - rule: The maximum length of segments.
  ///   - leastBucket: The fewest bytes of codes that are worth a bucket of their own; nil if nothing is known about the links,
  ///     so that every shard of a bucket must be worth a message of the usual length.
  public init(
    _ layout: TensorLayout, codec: any Codec, ownership: (any Codec)? = nil, rankCount: Int, rule: SegmentRule,
    leastBucket: Int? = nil
  ) {
    let ownership = ownership ?? codec
    require(
      codec.isIdentity || codec.grouping == ownership.grouping, "\(codec.specification) cannot keep the shards of other groups"
    )
    let groups = ownership.grouping.groups(of: layout)
    let groupStarts = groups.map(\.lowerBound) + [layout.count]
    var codeStarts = [0]
    codeStarts.reserveCapacity(groups.count + 1)
    for group in groups { codeStarts.append(codeStarts.last! + codec.encodedByteCount(of: group.count)) }
    var weights = [0]
    for group in groups { weights.append(weights.last! + ownership.encodedByteCount(of: group.count)) }
    let pieces = PieceRule(rule, isIdentity: codec.isIdentity)
    let owners = PieceRule(rule, isIdentity: ownership.isIdentity)
    let usualBucket = rankCount * owners.usefulLength
    buckets = ExchangeGeometry.buckets(
      layout, groupStarts, weights,
      leastWeight: min(max(leastBucket ?? usualBucket, rankCount * PieceRule.leastMessage), usualBucket), owners)

    let shards = buckets.map { bucket in
      let starts = weights[bucket.lowerBound...bucket.upperBound].map { $0 - weights[bucket.lowerBound] }
      return Partition(cumulativeWeights: starts, into: rankCount).ranges.map { $0.shifted(by: bucket.lowerBound) }
    }
    var offset = 0
    segments = (0..<rankCount).map { shard in
      var segments: [Segment] = []
      var ownedOffset = 0
      for (bucket, groups) in shards.map({ $0[shard] }).enumerated() {
        let starts = codeStarts[groups.lowerBound...groups.upperBound].map { $0 - codeStarts[groups.lowerBound] }
        let count = pieces.count(
          byteCount: starts.last!, elementCount: groupStarts[groups.upperBound] - groupStarts[groups.lowerBound])
        for range in Partition(cumulativeWeights: starts, into: count).ranges where !range.isEmpty {
          let own = range.shifted(by: groups.lowerBound)
          let segment = Segment(
            shard: shard, index: segments.count, bucket: bucket, groups: own,
            elements: groupStarts[own.lowerBound]..<groupStarts[own.upperBound], ownedOffset: ownedOffset, headerOffset: offset,
            payloadByteCount: codeStarts[own.upperBound] - codeStarts[own.lowerBound])
          offset += (segment.messageByteCount + 63) / 64 * 64
          ownedOffset += segment.elements.count
          segments.append(segment)
        }
      }
      return segments
    }
    self.groupStarts = groupStarts
    self.codeStarts = codeStarts
    codeSpaceByteCount = offset
    let tensorGroups = layout.groupBounds(groups)
    self.tensorGroups = tensorGroups
    runEnds = layout.runEnds(of: groups)
    var isFallback = groups.map { codec.isRaw(count: $0.count) }
    // What is to travel as floats is no fallback.
    for (index, tensor) in layout.tensors.enumerated() where tensor.kind != .coded {
      for group in tensorGroups[index]..<tensorGroups[index + 1] { isFallback[group] = false }
    }
    isRaw = isFallback
    rawGroupCount = isFallback.count { $0 }
  }

  /// The ranges of the values of shard `index` in the flat buffer: one for each bucket, adjacent ones joined.
  public func elements(ofShard index: Int) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    for segment in segments[index] where !segment.elements.isEmpty {
      if let last = ranges.last, last.upperBound == segment.elements.lowerBound {
        ranges[ranges.count - 1] = last.lowerBound..<segment.elements.upperBound
      } else {
        ranges.append(segment.elements)
      }
    }
    return ranges
  }

  /// The end of the groups from `group` on that are coded in one call.
  @inline(__always)
  func runEnd(_ group: Int, in segment: Segment) -> Int { min(runEnds[group], segment.groups.upperBound) }

  /// Advances `context` to a later group.
  @inline(__always)
  func move(_ context: inout EncodingContext, to group: Int) {
    while tensorGroups[context.tensor + 1] <= group { context.tensor += 1 }
    context.group = group - tensorGroups[context.tensor]
  }

  /// The range of the segments of shard `index` in a buffer of codes.
  public func codeSpace(ofShard index: Int) -> Range<Int> {
    guard let first = segments[index].first, let last = segments[index].last else { return 0..<0 }
    return first.headerOffset..<(last.headerOffset + last.messageByteCount + 63) / 64 * 64
  }

  /// Cuts the layout between tensors into buckets of weight at least `leastWeight`, so that each of their shards is worth a
  /// message; small tensors (biases) stay with the tensor before them.
  private static func buckets(
    _ layout: TensorLayout, _ groupStarts: [Int], _ codeStarts: [Int], leastWeight: Int, _ pieces: PieceRule
  ) -> [Range<Int>] {
    var buckets: [Range<Int>] = []
    var (start, group) = (0, 0)
    func weight(_ groups: Range<Int>) -> Int {
      pieces.weight(
        byteCount: codeStarts[groups.upperBound] - codeStarts[groups.lowerBound],
        elementCount: groupStarts[groups.upperBound] - groupStarts[groups.lowerBound])
    }
    let ends = layout.tensors.map { tensor in
      while groupStarts[group] < tensor.range.upperBound { group += 1 }
      return group
    }
    for (tensor, end) in ends.enumerated() {
      let isLast = tensor == ends.count - 1
      let isNextSmall = !isLast && weight(end..<ends[tensor + 1]) < leastWeight / 8
      if isLast || (!isNextSmall && weight(start..<end) >= leastWeight && weight(end..<ends.last!) >= leastWeight) {
        buckets.append(start..<end)
        start = end
      }
    }
    return buckets
  }
}

extension ExchangeGeometry {
  /// The segments that a rank encodes: one for each owner in turn, nearest first, so that all owners are supplied at the same
  /// rate; this rank's shard comes last.
  ///
  /// The next bucket, which is ready later, follows when the one before is complete.
  func encodingOrder(of rank: Int, over routes: ExchangeRoutes, isIdentity: Bool) -> [Segment] {
    let rankCount = segments.count
    var next = Array(repeating: 0, count: rankCount)
    var order: [Segment] = []
    for bucket in buckets.indices {
      var hasMore = true
      while hasMore {
        hasMore = false
        for distance in 1...rankCount {
          let owner = (rank + distance) % rankCount
          let shard = segments[owner]
          guard next[owner] < shard.count, shard[next[owner]].bucket == bucket else { continue }
          hasMore = true
          // Floats are read in place by this rank and by those of its host.
          if routes.contributes(rank, toShard: owner), !(isIdentity && routes.readsInPlace(owner, of: rank)) {
            order.append(shard[next[owner]])
          }
          next[owner] += 1
        }
      }
    }
    return order
  }
}

/// The lengths of segments.
private struct PieceRule {
  let rule: ExchangeGeometry.SegmentRule
  let isIdentity: Bool

  init(_ rule: ExchangeGeometry.SegmentRule, isIdentity: Bool) {
    self.rule = rule
    self.isIdentity = isIdentity
  }

  /// The fewest bytes that a message should have on any link: its header is a sixteenth of them.
  static let leastMessage = 1024

  /// The usual length of a segment: bytes of a message, or values in a shared window.
  var usefulLength: Int {
    switch rule {
    case .messages: isIdentity ? 53_248 : 17_408
    case .sharedWindow: 131_072
    }
  }

  /// A length in the unit of ``usefulLength``.
  func weight(byteCount: Int, elementCount: Int) -> Int {
    switch rule {
    case .messages: byteCount
    case .sharedWindow: elementCount
    }
  }

  /// The number of segments of a shard of one bucket.
  func count(byteCount: Int, elementCount: Int) -> Int {
    switch rule {
    case .messages where byteCount <= 20_480: 1
    case .messages: (byteCount - 1) / usefulLength + 1
    case .sharedWindow: max(1, elementCount / usefulLength)
    }
  }
}

extension Range<Int> {
  fileprivate func shifted(by distance: Int) -> Range<Int> { lowerBound + distance..<upperBound + distance }
}
