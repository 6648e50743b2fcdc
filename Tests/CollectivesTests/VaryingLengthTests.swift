import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Codes that vary in length, and stochastic ones, through the whole exchange, against the whole of it in plain code.
@Suite(.serialized, .ranks(atMost: 4)) struct VaryingLengthTests {
  static let layouts: [(name: String, layout: TensorLayout)] = [
    ("awkward", Layouts.awkward), ("single", Layouts.single),
    ("manyGroups", TensorLayout([("weights", [160, 250]), ("biases", [161])])),
  ]

  struct Case: CustomTestStringConvertible, Sendable {
    let codec: any ComparableCodec
    let topology: Topology
    var testDescription: String { "\(codec.specification) \(topology)" }
    /// Routes are the same for all codes of varying length: one less suffices for the last.
    static let all = TestCodecs.all.flatMap { codec in
      (codec is Chunks ? [Topology.flat] : [.flat, .hierarchical]).map { Case(codec: codec, topology: $0) }
    }
  }

  /// The gradient of a rank, with runs of zeros of which some fill whole groups.
  private func draw(_ count: Int, step: Int, rank: Int) -> [Float] {
    var values = drawGradient(count: count, seed: 90, step: step, rank: rank)
    for index in values.indices where index % 64 > 20 + 9 * rank || index / 640 % 3 == step { values[index] = 0 }
    return values
  }

  /// One host, a host for each rank, and hosts of two: shared memory, messages, and both; on few ranks some of them are one.
  private static func placements(of rankCount: Int) -> [[Int]] {
    var all: [[Int]] = []
    for hosts in [Array(repeating: 0, count: rankCount), Array(0..<rankCount), (0..<rankCount).map { $0 / 2 }]
    where !all.contains(hosts) { all.append(hosts) }
    return all
  }

  @Test(arguments: Case.all) func equalsTheReference(_ test: Case) throws {
    let (rank, rankCount) = (allRanks.rank, allRanks.count)
    for hosts in Self.placements(of: rankCount) {
      for (name, layout) in Self.layouts {
        let map = try HostMap(allRanks, pretendedHost: hosts[rank])
        let gradient = try SharedGradient(count: layout.count, hosts: map)
        var options = randomDelays(seed: 91)
        options.topology = test.topology
        options.seed = 0x1_0000_0005
        options.isRestorable = true
        let exchange = try CodedAllReduce(test.codec, layout: layout, gradient: gradient, options: options)
        var reference = VaryingReference(test.codec, layout, exchange.geometry, exchange.routes, seed: options.seed)
        let what = "\(name), hosts \(hosts)"
        #expect(exchange.predictsAtMost == test.codec.hasVaryingLength)
        for step in 0..<3 {
          // The plain code takes longest: one rank runs it for all.
          var expected = [Float](repeating: 0, count: layout.count)
          var residuals = reference.residuals.flatMap(\.self)
          if rank == 0 {
            expected = reference.run((0..<rankCount).map { draw(layout.count, step: step, rank: $0) }, step: step)
            residuals = reference.residuals.flatMap(\.self)
          }
          try allRanks.broadcast(&expected, root: 0)
          try allRanks.broadcast(&residuals, root: 0)
          gradient.values.set(draw(layout.count, step: step, rank: rank))
          // What is discarded leaves no trace but its traffic.
          try exchange.begin(Contribution(step: step))
          try exchange.discard()
          let output = FloatBuffer(count: layout.count)
          output.fill(.nan)
          if step == 1 {
            try exchange.run(step: step, into: .inPlace)
            output.copy(from: gradient.values)
          } else {
            try exchange.begin(Contribution(step: step))
            try exchange.deliver(into: .buffer(output))
          }
          #expect(firstDifference(output.array, expected) == nil, "\(what), step \(step)")
          #expect(try isSameOnAllRanks(output.array), "\(what), step \(step)")
          if rankCount > 1 {
            let own = Array(residuals[rank * layout.count..<(rank + 1) * layout.count])
            #expect(firstDifference(exchange.residual.array, own) == nil, "\(what), step \(step)")
          }
        }
        let (counted, most) = (exchange.traffic, exchange.predictedTraffic * 6)
        #expect(counted.messagesSent == most.messagesSent && counted.rawGroups == most.rawGroups, "\(what)")
        #expect(counted.bytesSent <= most.bytesSent && counted.bytesReceived <= most.bytesReceived, "\(what)")
        if !test.codec.hasVaryingLength { #expect(counted == most, "\(what)") }
        if exchange.routes.parties.count == rankCount {
          var bytes = (0..<rankCount).flatMap { [reference.bytes(of: $0).sent, reference.bytes(of: $0).received] }
          try allRanks.broadcast(&bytes, root: 0)
          let (sent, received) = (bytes[2 * rank], bytes[2 * rank + 1])
          #expect(counted.bytesSent == 2 * sent && counted.bytesReceived == 2 * received, "\(what)")
        }
        let total = try allRanks.allReduce(counted.bytesSent - counted.bytesReceived, .sum)
        #expect(total == 0, "\(what)")
        // Something is saved at all.
        if test.codec.hasVaryingLength && rankCount > 1 && name == "manyGroups" {
          #expect(try allRanks.allReduce(most.bytesSent - counted.bytesSent, .sum) > 0, "\(what)")
        }
      }
    }
  }

  /// A group that is not finite travels as an empty code, is counted, and keeps its residual.
  @Test(.enabled(if: allRanks.count > 1), arguments: TestCodecs.all.map(\.specification), transports)
  func whatIsNotFiniteIsZeros(_ specification: String, _ transport: Transport) throws {
    let codec = TestCodecs.all.first { $0.specification == specification }!
    let layout = TensorLayout([("weights", [8, 50])])
    let hosts = try HostMap(allRanks, transport: transport)
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let exchange = try CodedAllReduce(codec, layout: layout, gradient: gradient)
    let output = FloatBuffer(count: layout.count)
    gradient.values.fill(1)
    if allRanks.rank == 1 { for index in 100..<150 { gradient.values[index] = index == 120 ? .nan : 2 } }
    try exchange.run(step: 0, into: .buffer(output))
    #expect(exchange.nonFiniteGroups == (allRanks.rank == 1 ? 1 : 0))
    #expect((0..<layout.count).allSatisfy { output[$0].isFinite })
    #expect(!(100..<150).contains { output[$0] > Float(allRanks.count - 1) + 0.01 })
    if allRanks.rank == 1 { #expect((100..<150).allSatisfy { exchange.residual[$0] == 0 }) }
  }

  /// Another seed, step, tensor, group or stream gives other numbers; the same give the same.
  @Test(.oneProcess) func everyGroupHasItsOwnNumbers() {
    var contexts = [EncodingContext(seed: 1)]
    contexts.append(EncodingContext(seed: 2))
    contexts.append(EncodingContext(seed: 1, step: 1))
    contexts.append(EncodingContext(seed: 1, stream: 1))
    contexts.append(EncodingContext(seed: 1, tensor: 1))
    contexts.append(EncodingContext(seed: 1, group: 1))
    contexts.append(EncodingContext(seed: 1, group: 1 << 16))
    let words = contexts.flatMap { context in (0..<4).map { context.random(.stochasticRounding).words(quad: $0) } }
    #expect(Set(words).count == words.count)
    let random = contexts[5].random(.stochasticRounding)
    #expect((0..<1000).allSatisfy { (0..<1).contains(random.uniform($0)) })
    #expect(random.uniform(6) == Float(random.words(quad: 1)[2] >> 8) / Float(1 << 24))
  }
}
