internal import Buffers
internal import Codecs

/// The shards of an exchange with shared scales, and what its four rounds of messages hold.
struct SharedScalePlan {
  /// Groups of a shard that are coded in one call.
  struct Run {
    let place: ShardCodes.Run
    /// Its scale among those of all groups; nil if its values travel as floats.
    let scale: Int?
    var elements: Range<Int> { place.elements }
    var count: Int { place.elements.count }
  }

  /// The shards as codes.
  let codes: ShardCodes
  /// The runs of each shard.
  let runs: [[Run]]
  /// The scales of each shard among those of all groups.
  let scales: [Range<Int>]
  /// Whole numbers as they are sent back; nil if sums come back as codes.
  let integers: IntegerSums?
  private let codec: any SharedScaleCodec

  init(_ settings: SharedScaleSettings, _ layout: TensorLayout, rankCount: Int) {
    codec = settings.codec
    integers = settings.sums == .exact ? IntegerSums(limit: codec.largestInteger * rankCount) : nil
    codes = ShardCodes(layout, codec: codec, shardCount: rankCount)
    var (runs, scales, next): ([[Run]], [Range<Int>], Int) = ([], [], 0)
    for shard in 0..<rankCount {
      let first = next
      var own: [Run] = []
      for place in codes.runs(of: shard) {
        let isRaw = place.areSingle || codec.isRaw(count: place.elements.count)
        own.append(Run(place: place, scale: isRaw ? nil : next))
        next += isRaw ? 0 : 1
      }
      runs.append(own)
      scales.append(first..<next)
    }
    (self.runs, self.scales) = (runs, scales)
  }

  /// The number of scales of all groups.
  var scaleCount: Int { scales.last?.upperBound ?? 0 }
  /// The values of the largest shard.
  var longestShard: Int { runs.indices.map { codes.elements(of: $0).count }.max() ?? 0 }

  /// The words of a run on its way to the owner.
  private func codeWords(_ run: Run) -> Int { run.scale == nil ? run.count : codec.integerByteCount(of: run.count) / 4 }

  /// The words of a run on its way back.
  private func sumWords(_ run: Run) -> Int {
    guard run.scale != nil else { return run.count }
    return integers?.wordCount(of: run.count) ?? codec.encodedByteCount(of: run.count) / 4
  }

  /// The messages of an exchange: scales to owners and what they agree on back, then integers and sums.
  var rounds: [MessageRounds.Round] {
    let (scaleCounts, up) = (scales.map(\.count), runs.map { $0.reduce(0) { $0 + codeWords($1) } })
    return [
      .scattered("scales", scales.map { _ in scaleCounts }),
      .gathered("shared scales", scaleCounts, lengths: .full),
      .scattered("integers", runs.map { _ in up }),
      .gathered("their sums", runs.map { $0.reduce(0) { $0 + sumWords($1) } }, lengths: .full),
    ]
  }
}
