import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// The laws of shards and segments.
@Suite(.serialized) struct GeometryTests {
  static let codecs: [ReferenceCodec] = testedCodecs + [.oneBit(elements: 1024), .oneBit(elements: 65_536)]
  /// Small layouts for all codecs, whole models for those of which a model has not too many groups.
  private func layouts(_ codec: ReferenceCodec) -> [TensorLayout] {
    let models: [TensorLayout]
    switch codec {
    case .oneBit(let elements?) where elements < 1024: models = []
    case .none: models = [TrafficTests.models[0].layout]
    default: models = TrafficTests.models.map(\.layout)
    }
    return Layouts.all.map(\.layout) + [Layouts.manyGroups] + models
  }

  private func forAll(
    _ codec: ReferenceCodec, _ body: (ExchangeGeometry, ReferenceGeometry, TensorLayout, Bool) throws -> Void
  ) throws {
    for layout in layouts(codec) {
      for rankCount in [1, 2, 5, 8, 13] {
        for isShared in [true, false] {
          let geometry = ExchangeGeometry(
            layout, codec: try makeCodec(codec), rankCount: rankCount, rule: isShared ? .sharedWindow : .messages)
          try body(geometry, ReferenceGeometry(layout, codec, rankCount: rankCount, isShared: isShared), layout, isShared)
        }
      }
    }
  }

  /// Groups cover the layout; shards cover the groups once; segments cover the shards, in order.
  @Test(.oneProcess, arguments: codecs) func everythingIsCoveredOnce(_ codec: ReferenceCodec) throws {
    try forAll(codec) { geometry, reference, layout, _ in
      #expect(geometry.groupStarts == reference.groups.map(\.lowerBound) + [layout.count])
      var starts = [0]
      for group in reference.groups { starts.append(starts.last! + reference.codec.byteCount(of: group.count)) }
      #expect(geometry.codeStarts == starts)
      #expect(geometry.rawGroupCount == reference.groups.indices.count(where: reference.isRaw))
      var groupSeen = Array(repeating: false, count: reference.groups.count)
      for (index, segments) in geometry.segments.enumerated() {
        #expect(joined(geometry.elements(ofShard: index)) == joined(reference.shards[index].map(reference.elements)))
        var (nextElement, ownedOffset, lastBucket) = (0, 0, 0)
        for (place, segment) in segments.enumerated() {
          let isNamed = segment.shard == index && segment.index == place && !segment.groups.isEmpty
          let isNext =
            segment.elements.lowerBound >= nextElement && segment.ownedOffset == ownedOffset && segment.bucket >= lastBucket
            && geometry.buckets[segment.bucket].contains(segment.groups)
          let isWhole =
            segment.elements == reference.elements(segment.groups)
            && segment.payloadByteCount == reference.byteCount(segment.groups)
            && segment.messageByteCount == segment.payloadByteCount + 64
          if !(isNamed && isNext && isWhole) { Issue.record("segment \(place) of shard \(index): \(segment)") }
          for group in segment.groups {
            if groupSeen[group] { Issue.record("group \(group) belongs to two segments") }
            groupSeen[group] = true
          }
          (nextElement, lastBucket) = (segment.elements.upperBound, segment.bucket)
          ownedOffset += segment.elements.count
        }
      }
      #expect(!groupSeen.contains(false))
      // Buckets follow one another and are cut between tensors.
      #expect(geometry.buckets.flatMap { Array($0) } == Array(reference.groups.indices))
      let tensorStarts = Set(layout.tensors.map(\.range.lowerBound))
      #expect(geometry.buckets.allSatisfy { $0.isEmpty || tensorStarts.contains(geometry.groupStarts[$0.lowerBound]) })
    }
  }

  /// A small model is one bucket, and so two messages to each rank; a large one has several, so that there is something to send
  /// while the rest is computed.
  @Test(.oneProcess) func bucketsAreUseful() throws {
    func bucketCount(_ model: Int, _ codec: ReferenceCodec, _ rankCount: Int) throws -> Int {
      ExchangeGeometry(
        TrafficTests.models[model].layout, codec: try makeCodec(codec), rankCount: rankCount, rule: .messages
      ).buckets.count
    }
    #expect(try bucketCount(0, .oneBit(elements: nil), 8) == 1)
    #expect(try bucketCount(0, .none, 8) == 2)
    #expect(try bucketCount(1, .oneBit(elements: nil), 8) == 7)
    #expect(try bucketCount(1, .oneBit(elements: nil), 512) == 1)
  }

  /// Where the links are known, a small model is cut as far as its pieces are worth while there: by layers over a slow link, not at
  /// all over a fast one, and never into messages that are mostly header.
  @Test(.oneProcess) func bucketsFollowTheLink() throws {
    let layout = TrafficTests.models[0].layout
    func geometry(_ link: LinkSpeed, _ rankCount: Int) throws -> ExchangeGeometry {
      ExchangeGeometry(
        layout, codec: try makeCodec(.oneBit(elements: nil)), rankCount: rankCount, rule: .messages,
        leastBucket: link.leastBucketByteCount)
    }
    let slow = LinkSpeed(latency: 1e-4, bytesPerSecond: 12.5e6)
    let fast = LinkSpeed(latency: 1e-4, bytesPerSecond: 1.25e9)
    #expect(slow.leastBucketByteCount == 10_000)
    for rankCount in [2, 4, 8] {
      // Without its biases the first hidden layer has 512 rows of 784 values, the second as many of 512.
      #expect(try geometry(slow, rankCount).buckets.count == 2)
    }
    #expect(try geometry(fast, 2).buckets.count == 2)
    #expect(try geometry(fast, 8).buckets.count == 1)
    #expect(try geometry(slow, 64).buckets.count == 1)
    #expect(try geometry(LinkSpeed(latency: 0, bytesPerSecond: 1), 8).buckets.count == 2)
  }

  /// Shards and segments are those of the published rules.
  @Test(.oneProcess, arguments: codecs) func followsTheRules(_ codec: ReferenceCodec) throws {
    try forAll(codec) { geometry, reference, _, _ in
      #expect(geometry.segments.map { $0.map(\.groups) } == reference.segments.map { $0.filter { !$0.isEmpty } })
    }
  }

  /// No shard is farther from its share than half the largest group at either end.
  @Test(.oneProcess, arguments: codecs) func shardsAreBalanced(_ codec: ReferenceCodec) throws {
    try forAll(codec) { geometry, reference, _, _ in
      let largest = reference.groups.map { codec.byteCount(of: $0.count) }.max() ?? 0
      let share = Double(reference.byteCount(0..<reference.groups.count)) / Double(reference.shards.count)
      for segments in geometry.segments {
        let byteCount = segments.reduce(0) { $0 + $1.payloadByteCount }
        #expect(abs(Double(byteCount) - share) <= Double(largest * max(1, geometry.buckets.count)) + 1e-6)
      }
    }
  }

  /// No message is above 60 KB.
  @Test(.oneProcess, arguments: codecs) func messagesAreShort(_ codec: ReferenceCodec) throws {
    try forAll(codec) { geometry, _, _, isShared in
      guard !isShared else { return }
      #expect(geometry.segments.joined().allSatisfy { $0.messageByteCount <= 61_440 })
    }
  }

  /// No message is above 60 KB even with the largest group that a user may ask for; a larger one is refused.
  @Test(.oneProcess) func messagesOfLargeGroupsAreShort() throws {
    #expect(throws: SpecificationError.self) { try makeCodec(.oneBit(elements: (1 << 18) + 1)) }
    let layout = TensorLayout([("weights", [3, 1 << 20])])
    for rankCount in [2, 8] {
      let geometry = ExchangeGeometry(
        layout, codec: try makeCodec(.oneBit(elements: 1 << 18)), rankCount: rankCount, rule: .messages)
      #expect(geometry.segments.joined().allSatisfy { $0.messageByteCount <= 61_440 })
    }
  }

  /// Messages lie apart in a buffer of codes: each in its shard's room, aligned for the words of its codes.
  @Test(.oneProcess, arguments: codecs) func messagesLieApart(_ codec: ReferenceCodec) throws {
    try forAll(codec) { geometry, _, _, _ in
      var end = 0
      for (index, segments) in geometry.segments.enumerated() {
        let room = geometry.codeSpace(ofShard: index)
        #expect(room.lowerBound >= 0 && room.upperBound <= geometry.codeSpaceByteCount)
        for segment in segments {
          let isApart = segment.headerOffset >= end && segment.headerOffset % 4 == 0
          end = segment.payloadOffset + segment.payloadByteCount
          let isInside = segment.headerOffset >= room.lowerBound && end <= room.upperBound
          if !(isApart && isInside && segment.payloadOffset == segment.headerOffset + 64) { Issue.record("\(segment)") }
        }
      }
      #expect(end <= geometry.codeSpaceByteCount)
    }
  }

  /// All ranks compute the same.
  @Test(arguments: [ReferenceCodec.none, .oneBit(elements: nil)], transports)
  func allRanksAgree(_ codec: ReferenceCodec, _ transport: Transport) throws {
    let setting = try Setting(codec, Layouts.awkward, transport)
    let geometry = setting.exchange.geometry
    var numbers = geometry.groupStarts + geometry.codeStarts + [geometry.codeSpaceByteCount]
    for segment in geometry.segments.joined() {
      numbers += [segment.shard, segment.index, segment.headerOffset, segment.payloadByteCount]
      numbers += [segment.groups.lowerBound, segment.groups.upperBound]
    }
    #expect(try isSameOnAllRanks(numbers.map { Float($0) }))
  }
}

/// Ranges in the order of their values, those that touch as one, without empty ones.
private func joined(_ ranges: [Range<Int>]) -> [Range<Int>] {
  var joined: [Range<Int>] = []
  for range in ranges where !range.isEmpty {
    if let last = joined.last, last.upperBound == range.lowerBound {
      joined[joined.count - 1] = last.lowerBound..<range.upperBound
    } else {
      joined.append(range)
    }
  }
  return joined
}
