public import Buffers
public import Codecs

/// A flat buffer cut into shards of whole groups, and the codes of a shard as one message.
///
/// Shards are contiguous, and balanced by the bytes of their codes.
public struct ShardCodes: Sendable {
  /// The codec of the groups.
  public let codec: any Codec
  /// The groups of the flat buffer.
  private let groups: [Range<Int>]
  /// The groups of each shard.
  private let shardGroups: [Range<Int>]
  /// The first group of each tensor, and the number of groups.
  private let tensorGroups: [Int]
  /// For each group, the end of the run of groups that begins with it, which are coded in one call; floats are coded one by one.
  private let runEnds: [Int]

  /// The shards of `layout` under `codec`; cut like those of `other`, if that is given, whose groups must be the same or floats.
  public init(_ layout: TensorLayout, codec: any Codec, shardCount: Int, like other: ShardCodes? = nil) {
    self.codec = codec
    groups = other?.groups ?? codec.grouping.groups(of: layout)
    let weights = groups.reduce(into: [0]) { $0.append($0.last! + codec.encodedByteCount(of: $1.count)) }
    shardGroups = other?.shardGroups ?? Partition(cumulativeWeights: weights, into: shardCount).ranges
    tensorGroups = layout.groupBounds(groups)
    runEnds = codec.isIdentity ? groups.indices.map { $0 + 1 } : layout.runEnds(of: groups)
  }

  /// The values of a shard in the flat buffer.
  public func elements(of shard: Int) -> Range<Int> {
    let own = shardGroups[shard]
    guard let first = own.first, let last = own.last else { return 0..<0 }
    return groups[first].lowerBound..<groups[last].upperBound
  }

  /// The size in bytes of the codes of a shard; an upper bound if the lengths of codes vary.
  public func byteCount(of shard: Int) -> Int {
    shardGroups[shard].reduce(0) { $0 + codec.encodedByteCount(of: groups[$1].count) }
  }

  /// Encodes a shard of `values`, whose residual is that of `coder`; returns the number of bytes written.
  ///
  /// - Parameters:
  ///   - shard: The shard.
  ///   - values: The values of the shard; the coder's residual has the same length and order, from `place` on.
  ///   - coder: Keeps what the codes cannot carry.
  ///   - place: The place of the shard in the coder's residual.
  ///   - code: Room for ``byteCount(of:)`` bytes, aligned to 4.
  ///   - context: Seed, step and stream of the codes.
  public func encode(
    _ shard: Int, _ values: UnsafePointer<Float>, by coder: GroupCoder, at place: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int {
    var (context, end) = (context, 0)
    let start = elements(of: shard).lowerBound
    context.tensor = 0
    forEachRun(of: shard) { group, range, areSingle in
      while tensorGroups[context.tensor + 1] <= group { context.tensor += 1 }
      context.group = group - tensorGroups[context.tensor]
      let offset = range.lowerBound - start
      end += coder.encode(
        values + offset, at: place + offset, count: range.count, areSingle: areSingle, into: code + end, context: context)
    }
    return end
  }

  /// Decodes the codes of a shard into its values.
  public func decode(_ shard: Int, _ code: UnsafeRawPointer, by coder: GroupCoder, setting values: UnsafeMutablePointer<Float>)
  {
    var end = 0
    let start = elements(of: shard).lowerBound
    forEachRun(of: shard) { _, range, areSingle in
      end += coder.decode(code + end, count: range.count, areSingle: areSingle, setting: values + (range.lowerBound - start))
    }
  }

  /// Calls `body` with the first group of each run of a shard, its values in the flat buffer, and whether each of them is a group.
  private func forEachRun(of shard: Int, _ body: (_ group: Int, _ range: Range<Int>, _ areSingle: Bool) -> Void) {
    var group = shardGroups[shard].lowerBound
    while group < shardGroups[shard].upperBound {
      let next = min(runEnds[group], shardGroups[shard].upperBound)
      body(group, groups[group].lowerBound..<groups[next - 1].upperBound, next > group + 1)
      group = next
    }
  }
}
