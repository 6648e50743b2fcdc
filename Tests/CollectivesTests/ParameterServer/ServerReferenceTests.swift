import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport

/// A parameter server against its equations, written down once more for one process and whole vectors.
@Suite(.serialized, .ranks(atMost: 4)) struct ServerReferenceTests {
  private let world = allRanks
  /// Several blocks of rows, a row that is a block of its own, groups that are sent raw, and a tensor of one value.
  static let layout = TensorLayout([("a", [40, 301]), ("b", [7]), ("c", [2, 5003]), ("d", [1]), ("e", [33, 130])])
  private static let rate: Float = 0.05
  private static let segments = [0..<17, 17..<17, 17..<30]

  private static func target(_ index: Int, _ minibatch: Int) -> Float {
    Philox(seed: 9, purpose: .tests).uniform(index + 100_000 * (minibatch % 4))
  }

  private static func start(_ count: Int) -> [Float] { (0..<count).map { Philox(seed: 8, purpose: .tests).uniform($0) - 0.5 } }

  /// What an owner and its workers do, value by value, with codes of whole groups.
  private struct Reference {
    var model: [Float]
    var held: [[Float]]
    let coders: [GroupCoder]
    var squares: [Float]
    let codec: any Codec
    let groups: [Range<Int>]

    init(_ codec: any Codec, workers: Int) {
      let count = layout.count
      (self.codec, groups, model) = (codec, codec.grouping.groups(of: layout), start(count))
      held = Array(repeating: model, count: workers)
      coders = (0..<workers).map { _ in GroupCoder(codec, count: count) }
      squares = Array(repeating: 0, count: count)
    }

    /// What codes of `values` carry.
    func carried(_ values: [Float], by coder: GroupCoder, seed: UInt64, step: Int, stream: Int) -> [Float] {
      var carried = values
      let code = ByteBuffer(count: 4 * values.count + 64)
      for group in groups {
        var context = EncodingContext(seed: seed, step: step, stream: stream)
        context.tensor = layout.tensors.firstIndex { $0.range.contains(group.lowerBound) }!
        context.group = groups.count {
          layout.tensors[context.tensor].range.contains($0.lowerBound) && $0.lowerBound < group.lowerBound
        }
        values.withUnsafeBufferPointer {
          _ = coder.encode(
            $0.baseAddress! + group.lowerBound, at: codec.isIdentity ? 0 : group.lowerBound, count: group.count,
            into: code.baseAddress, context: context)
        }
        carried.withUnsafeMutableBufferPointer {
          _ = coder.decode(code.baseAddress, count: group.count, setting: $0.baseAddress! + group.lowerBound)
        }
      }
      return carried
    }

    /// Applies the push of a worker, the `number`-th of the segment, and answers it.
    mutating func push(_ worker: Int, minibatch: Int, number: Int, isEmpty: Bool) {
      if !isEmpty {
        let gradient = held[worker].indices.map { held[worker][$0] - target($0, minibatch) }
        let arrived = carried(gradient, by: coders[worker], seed: 5, step: minibatch, stream: 2 * worker)
        for i in model.indices {
          let g = arrived[i]
          squares[i] = 0.9 * squares[i] + (1 - 0.9) * (g * g)
          let lambda = 3 / (squares[i] + 1e-7).squareRoot()
          let x = lambda * (g * g) * (model[i] - held[worker][i])
          model[i] -= rate * (g + min(max(x, -abs(g)), abs(g)))
        }
      }
      // Floats are pulled as they are.
      guard !codec.isIdentity else { return held[worker] = model }
      let difference = model.indices.map { model[$0] - held[worker][$0] }
      let fresh = GroupCoder(codec, count: model.count)
      let answer = carried(difference, by: fresh, seed: 5, step: number, stream: 2 * worker + 1)
      for i in model.indices { held[worker][i] += answer[i] }
    }
  }

  /// The order of pushes, with the minibatch of each, of workers that take turns as they are listed.
  private func run(_ codec: any Codec, workers: Int) throws -> (found: [Float], expected: [Float], service: [ServiceRecord]) {
    let model = FloatBuffer(count: Self.layout.count)
    for (index, value) in Self.start(model.count).enumerated() { model[index] = value }
    var settings = ParameterServer.Settings(workerCount: workers)
    settings.rule.compensation = DelayCompensation(.adaptive, lambda: 3, mean: 0.9)
    settings.seed = 5
    var (parts, ends, records): ([Range<Int>], Int, [ServiceRecord]) = ([], 0, [])
    let own = ShardCodes(Self.layout, codec: codec, shardCount: allRanks.count).elements(of: allRanks.rank)
    let server = try ParameterServer(
      HostMap(allRanks), layout: Self.layout, parameters: model, codec: codec, settings: settings
    ) { range, gradient, _, rate, _ in
      parts.append(range)
      let rate = rate(Self.rate)
      for i in range { model[i] -= rate * gradient[i - range.lowerBound] }
    } finishUpdate: { _, _ in
      // The parts of an update are the shard, one after another.
      #expect(zip(parts, parts.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(parts.first?.lowerBound == own.first && parts.last?.upperBound == own.last.map { $0 + 1 })
      (parts, ends) = ([], ends + 1)
    }
    var reference = Reference(codec, workers: workers)
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
          gradient[i] = parameters[i] - Self.target(i, minibatch)
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
    let shards = ShardCodes(Self.layout, codec: codec, shardCount: world.count)
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
