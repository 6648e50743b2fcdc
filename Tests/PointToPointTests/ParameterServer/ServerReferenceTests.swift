import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// A parameter server against its equations, written down once more for one process and whole vectors.
@Suite(.serialized, .ranks(atMost: 4)) struct ServerReferenceTests {
  private let world = allRanks
  private static let segments = [0..<17, 17..<17, 17..<30]

  /// The order of pushes, with the minibatch of each, of workers that take turns as they are listed.
  private func run(_ codec: any Codec, workers: Int) throws -> (found: [Float], expected: [Float], service: [ServiceRecord]) {
    let model = FloatBuffer(count: ServerReference.layout.count)
    for (index, value) in ServerReference.start(model.count).enumerated() { model[index] = value }
    var settings = ParameterServer.Settings(workerCount: workers)
    settings.rule.compensation = DelayCompensation(.adaptive, lambda: 3, mean: 0.9)
    settings.seed = 5
    var (parts, ends, records): ([Range<Int>], Int, [ServiceRecord]) = ([], 0, [])
    let own = ShardCodes(ServerReference.layout, codec: codec, shardCount: allRanks.count).elements(of: allRanks.rank)
    let server = try ParameterServer(
      HostMap(allRanks), layout: ServerReference.layout, parameters: model, codec: codec, settings: settings
    ) { range, gradient, _, rate, _ in
      parts.append(range)
      let rate = rate(ServerReference.rate)
      for i in range { model[i] -= rate * gradient[i - range.lowerBound] }
    } finishUpdate: { _, _ in
      // The parts of an update are the shard, one after another.
      #expect(zip(parts, parts.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(parts.first?.lowerBound == own.first && parts.last?.upperBound == own.last.map { $0 + 1 })
      (parts, ends) = ([], ends + 1)
    }
    var reference = ServerReference(codec, workers: workers)
    for segment in Self.segments {
      let course = EmulatedSpeed.exponential.course(of: segment, settings)
      reference.held = Array(repeating: reference.model, count: workers)
      var (next, minibatches) = (segment.lowerBound + workers, [Int: Int]())
      for worker in 0..<workers { minibatches[worker] = segment.lowerBound + worker }
      for (place, event) in course.order.enumerated() where event >= 0 {
        let minibatch = minibatches[event]!
        reference.push(event, minibatch: minibatch, number: place + 1, isEmpty: minibatch == 3)
        minibatches[event] = next
        next += 1
      }
      try server.run(segment, usesFloats: false, order: .listed(course.order)) { _, minibatch, parameters, gradient, serve in
        for i in 0..<gradient.count {
          gradient[i] = parameters[i] - ServerReference.target(i, minibatch)
          if i % 5000 == 50 { serve() }
        }
        return minibatch == 3 ? 0 : 2
      }
      #expect(server.service.pushTimes.count == segment.count && server.service.pushTimes == server.service.pushTimes.sorted())
      records.append(server.service)
    }
    #expect(ends == 29 && server.ownElements == own)
    return (Array(model.values), reference.model, records)
  }

  @Test func theBitsAreThoseOfTheEquations() throws {
    for name in ["none", "one-bit", "one-bit:group=6000", "multi-bit:bits=2"] {
      let result = try run(try codecs.make(name), workers: 4 * (world.count == 3 ? 3 : 1))
      #expect(result.found.map(\.bitPattern) == result.expected.map(\.bitPattern), "\(name)")
    }
  }

  /// Bytes are counted where they come and go: all pushes and answers of a shard, and what they are by the format.
  @Test func ownersCountTheirBytes() throws {
    let (codec, header) = (OneBit(), 32)
    let records = try run(codec, workers: 2 * world.count).service
    let shards = ShardCodes(ServerReference.layout, codec: codec, shardCount: world.count)
    for (segment, record) in zip(Self.segments, records) {
      let bytes = shards.byteCount(of: world.rank) + header
      // One push has no samples, and so no codes.
      let empty = segment.contains(3) ? shards.byteCount(of: world.rank) : 0
      #expect(record.pushByteCount == segment.count * bytes - empty)
      #expect(record.answerByteCount == segment.count * bytes)
      // All ranks are on one host.
      #expect(record.bytesLeavingHost == 0 && record.seconds > 0 && record.secondsBetweenLayers <= record.seconds)
    }
  }

  @Test func pacesLeaveOutTheEnds() {
    var record = ServiceRecord()
    #expect(record.pushesPerSecond(aside: 1) == nil)
    // A slow beginning, four pushes a second, and a slow end.
    record = ServiceRecord(pushTimes: [3, 5, 5.25, 5.5, 5.75, 6, 9, 12])
    #expect(record.pushesPerSecond(aside: 2) == 4)
    #expect(record.pushesPerSecond(aside: 4) == nil && record.pushesPerSecond(aside: 0) == nil)
  }
}
