public import Buffers
public import Codecs

/// Consecutive groups of one stripe that travel together: a message between hosts, a unit of work inside one.
public struct Segment: Sendable {
  /// The stripe it belongs to, and so the rank that owns it.
  public let stripe: Int
  /// Its place in the stripe.
  public let index: Int
  /// The groups it holds.
  public let groups: Range<Int>
  /// Their values in the flat buffer.
  public let elements: Range<Int>
  /// Where its header begins in a buffer of codes; its payload follows the header at once.
  public let headerOffset: Int
  /// The bytes of its codes.
  public let payloadByteCount: Int

  /// Where its codes begin in a buffer of codes.
  public var payloadOffset: Int { headerOffset + MessageHeader.byteCount }
  /// Header and payload, in bytes.
  public var messageByteCount: Int { MessageHeader.byteCount + payloadByteCount }
}

/// Who owns what, and in which pieces it travels: groups, stripes and segments of a layout under a codec.
///
/// A pure function of its arguments, the same on every rank. Stripe *j* belongs to rank *j*; stripes are balanced by the bytes
/// of their codes over the concatenation of all tensors, and cut between groups, so that no group's statistics are split.
public struct ExchangeGeometry: Sendable {
  /// How long a segment may be.
  public enum SegmentRule: Sendable {
    /// For messages: one up to 20 KB, otherwise pieces of about 17 KB of codes or 52 KB of floats; never above 60 KB, where
    /// Open MPI would change to a slower protocol.
    case messages
    /// For reading in place: pieces of 512 KiB of fp32, which stay in a core's cache.
    case sharedWindow
  }

  /// Group *g* holds the values `groupStarts[g]..<groupStarts[g + 1]`.
  public let groupStarts: [Int]
  /// The code of group *g* is at `codeStarts[g]..<codeStarts[g + 1]` when codes lie one after another.
  public let codeStarts: [Int]
  /// The groups of each stripe.
  public let stripes: Partition
  /// The segments of each stripe, in order.
  public let segments: [[Segment]]
  /// The size in bytes of a buffer for the segments of all stripes, headers included.
  public let codeSpaceByteCount: Int
  /// Whether each group is sent as floats because its code would be larger.
  let isPlain: [Bool]
  /// The number of such groups.
  public let plainGroupCount: Int

  /// The geometry of `layout` under `codec` on `rankCount` ranks.
  public init(_ layout: TensorLayout, codec: any Codec, rankCount: Int, rule: SegmentRule) {
    let groups = codec.grouping.groups(of: layout)
    let groupStarts = groups.map(\.lowerBound) + [layout.count]
    var codeStarts = [0]
    codeStarts.reserveCapacity(groups.count + 1)
    for group in groups { codeStarts.append(codeStarts.last! + codec.encodedByteCount(of: group.count)) }
    stripes = Partition(cumulativeWeights: codeStarts, into: rankCount)

    var offset = 0
    segments = stripes.ranges.enumerated().map { stripe, groups in
      let starts = codeStarts[groups.lowerBound...groups.upperBound].map { $0 - codeStarts[groups.lowerBound] }
      let elementCount = groupStarts[groups.upperBound] - groupStarts[groups.lowerBound]
      let pieces: Int
      switch rule {
      case .messages where starts.last! <= 20_480: pieces = 1
      case .messages: pieces = (starts.last! - 1) / (codec.isIdentity ? 53_248 : 17_408) + 1
      case .sharedWindow: pieces = max(1, elementCount / 131_072)
      }
      var segments: [Segment] = []
      for range in Partition(cumulativeWeights: starts, into: pieces).ranges where !range.isEmpty {
        let own = groups.lowerBound + range.lowerBound..<groups.lowerBound + range.upperBound
        let segment = Segment(
          stripe: stripe, index: segments.count, groups: own,
          elements: groupStarts[own.lowerBound]..<groupStarts[own.upperBound], headerOffset: offset,
          payloadByteCount: codeStarts[own.upperBound] - codeStarts[own.lowerBound])
        offset += (segment.messageByteCount + 63) / 64 * 64
        segments.append(segment)
      }
      return segments
    }
    self.groupStarts = groupStarts
    self.codeStarts = codeStarts
    codeSpaceByteCount = offset
    isPlain = groups.map { !codec.isIdentity && codec.isPlain(count: $0.count) }
    plainGroupCount = isPlain.count { $0 }
  }

  /// The values of stripe `index` in the flat buffer.
  public func elements(ofStripe index: Int) -> Range<Int> {
    groupStarts[stripes[index].lowerBound]..<groupStarts[stripes[index].upperBound]
  }

  /// Where the segments of stripe `index` lie in a buffer of codes.
  public func codeSpace(ofStripe index: Int) -> Range<Int> {
    guard let first = segments[index].first, let last = segments[index].last else { return 0..<0 }
    return first.headerOffset..<(last.headerOffset + last.messageByteCount + 63) / 64 * 64
  }
}
