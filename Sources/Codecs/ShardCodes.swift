public import Buffers

/// A flat buffer cut into shards of whole groups, and the codes of a shard as one message.
///
/// Shards are contiguous, and balanced by the bytes of their codes; one without a share has no values.
/// - Cost: a message has the codes of the groups and nothing else; one pass over its values. Memory for three numbers a group.
public struct ShardCodes: Sendable {
  /// Groups of a shard that follow one another, few enough that what is done to them one thing after another stays in the cache.
  package struct Block {
    /// The groups.
    package let groups: Range<Int>
    /// Their values, counted from the first of the shard.
    package let elements: Range<Int>
  }

  /// Groups that are coded in one call: a single one, or floats of a tensor.
  package struct Run {
    /// The index of their tensor, and that of the first of them in it.
    package let (tensor, group): (Int, Int)
    /// Their values in the flat buffer.
    package let elements: Range<Int>
    /// Whether each value is a group.
    package let areSingle: Bool
  }

  /// The values of a block, unless a single group has more: 16 KB.
  private static let blockCount = 4096

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

  /// `shardCount` shards of `layout` under `codec`, of equal weight.
  public init(_ layout: TensorLayout, codec: any Codec, shardCount: Int) {
    self.init(layout, codec: codec, shares: Array(repeating: 1, count: shardCount))
  }

  /// The shards of `layout` under `codec`, as many and as large as `shares` say; cut like those of `other`, if that is given, whose groups
  /// must be the same or floats.
  public init(_ layout: TensorLayout, codec: any Codec, shares: [Int], like other: ShardCodes? = nil) {
    self.codec = codec
    groups = other?.groups ?? codec.grouping.groups(of: layout)
    let weights = groups.reduce(into: [0]) { $0.append($0.last! + codec.encodedByteCount(of: $1.count)) }
    shardGroups = other?.shardGroups ?? Partition(cumulativeWeights: weights, shares: shares).ranges
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

  /// A shard in runs, in the order of its values.
  package func runs(of shard: Int) -> [Run] {
    let start = elements(of: shard).lowerBound
    var (runs, tensor): ([Run], Int) = ([], 0)
    forEachRun(of: shardGroups[shard]) { group, offset, count, areSingle in
      while tensorGroups[tensor + 1] <= group { tensor += 1 }
      runs.append(
        Run(
          tensor: tensor, group: group - tensorGroups[tensor], elements: start + offset..<start + offset + count,
          areSingle: areSingle))
    }
    return runs
  }

  /// A shard in blocks, in the order of its values; one without values if it has none.
  package func blocks(of shard: Int) -> [Block] {
    let start = elements(of: shard).lowerBound
    var blocks: [Block] = []
    for group in shardGroups[shard] {
      let values = groups[group].lowerBound - start..<groups[group].upperBound - start
      if let last = blocks.last, values.upperBound - last.elements.lowerBound <= ShardCodes.blockCount {
        blocks[blocks.count - 1] = Block(
          groups: last.groups.lowerBound..<group + 1, elements: last.elements.lowerBound..<values.upperBound)
      } else {
        blocks.append(Block(groups: group..<group + 1, elements: values))
      }
    }
    return blocks.isEmpty ? [Block(groups: 0..<0, elements: 0..<0)] : blocks
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
  ) -> Int { encode(shardGroups[shard], values, by: coder, at: place, into: code, context: context) }

  /// Encodes a block of a shard; `values` and `place` are those of its first value.
  package func encode(
    _ block: Block, _ values: UnsafePointer<Float>, by coder: GroupCoder, at place: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int { encode(block.groups, values, by: coder, at: place, into: code, context: context) }

  private func encode(
    _ own: Range<Int>, _ values: UnsafePointer<Float>, by coder: GroupCoder, at place: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int {
    var (context, end) = (context, 0)
    context.tensor = 0
    forEachRun(of: own) { group, offset, count, areSingle in
      while tensorGroups[context.tensor + 1] <= group { context.tensor += 1 }
      context.group = group - tensorGroups[context.tensor]
      end += coder.encode(
        values + offset, at: place + offset, count: count, areSingle: areSingle, into: code + end, context: context)
    }
    return end
  }

  /// Decodes the codes of a shard into its values.
  public func decode(_ shard: Int, _ code: UnsafeRawPointer, by coder: GroupCoder, setting values: UnsafeMutablePointer<Float>)
  {
    _ = decode(shardGroups[shard], code, by: coder, setting: values)
  }

  /// Decodes a block into its values; returns the number of bytes of its codes.
  package func decode(
    _ block: Block, _ code: UnsafeRawPointer, by coder: GroupCoder, setting values: UnsafeMutablePointer<Float>
  )
    -> Int
  {
    decode(block.groups, code, by: coder, setting: values)
  }

  private func decode(
    _ own: Range<Int>, _ code: UnsafeRawPointer, by coder: GroupCoder, setting values: UnsafeMutablePointer<Float>
  ) -> Int {
    var end = 0
    forEachRun(of: own) { _, offset, count, areSingle in
      end += coder.decode(code + end, count: count, areSingle: areSingle, setting: values + offset)
    }
    return end
  }

  /// Calls `body` with the first group of each run among `own`, where its values begin among theirs, their number, and whether each
  /// of them is a group.
  private func forEachRun(
    of own: Range<Int>, _ body: (_ group: Int, _ offset: Int, _ count: Int, _ areSingle: Bool) -> Void
  ) {
    var group = own.lowerBound
    while group < own.upperBound {
      let next = min(runEnds[group], own.upperBound)
      let start = groups[group].lowerBound
      body(group, start - groups[own.lowerBound].lowerBound, groups[next - 1].upperBound - start, next > group + 1)
      group = next
    }
  }
}
