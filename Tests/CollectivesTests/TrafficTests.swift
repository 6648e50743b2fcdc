import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Counted bytes are predicted bytes, and the prediction is that of the published format.
@Suite(.serialized) struct TrafficTests {
  static let cases = ExchangeTests.Case.all.filter { ["awkward", "single", "manyGroups"].contains($0.name) }

  @Test(arguments: cases) func countedIsPredicted(_ test: ExchangeTests.Case) throws {
    let setting = try Setting(test.codec, test.layout, test.transport)
    let exchange = setting.exchange
    let reference = ReferenceGeometry(test.layout, test.codec, rankCount: allRanks.count, isShared: setting.isShared)
    let expected = reference.traffic(of: allRanks.rank, isOnSameHost: setting.isOnSameHost)
    let steps = 3
    for step in 0..<steps {
      _ = try setting.run(drawGradient(count: test.layout.count, seed: 31, step: step, rank: allRanks.rank), step: step)
    }
    let counted = exchange.traffic
    #expect(counted == exchange.predictedTraffic * steps)
    for (traffic, count) in [(exchange.predictedTraffic, 1), (counted, steps)] {
      #expect(traffic.networkBytesSent == expected.networkBytes * count)
      #expect(traffic.networkBytesReceived == expected.networkBytes * count)
      #expect(traffic.hostBytesSent == expected.hostBytes * count)
      #expect(traffic.hostBytesReceived == expected.hostBytes * count)
      #expect(traffic.bytesSent == expected.bytes * count && traffic.bytesReceived == expected.bytes * count)
      #expect(traffic.messagesSent == expected.messages * count)
      #expect(traffic.rawGroups == expected.rawGroups * count)
    }
    if test.transport == .messages { #expect(counted.hostBytesSent == 0) }
    // What is sent is received.
    let totals = try allRanks.allGather([counted.bytesSent, counted.bytesReceived])
    let sent = stride(from: 0, to: totals.count, by: 2).reduce(0) { $0 + totals[$1] }
    let received = stride(from: 1, to: totals.count, by: 2).reduce(0) { $0 + totals[$1] }
    #expect(sent == received)
    // As much goes to owners as comes back from them.
    #expect(try allRanks.allReduce(counted.bytesSent - 2 * counted.returnedBytesSent, .sum) == 0)
  }

  /// K ranks send 2 (K − 1) times the encoded size together, plus headers between hosts.
  @Test(.oneProcess, arguments: testedCodecs) func totalIsTheFormula(_ codec: ReferenceCodec) throws {
    for (_, layout) in Layouts.all {
      let encoded = codec.groups(of: layout).reduce(0) { $0 + codec.byteCount(of: $1.count) }
      for rankCount in 1...9 {
        for isShared in [true, false] {
          let geometry = ExchangeGeometry(
            layout, codec: try makeCodec(codec), rankCount: rankCount, rule: isShared ? .sharedWindow : .messages)
          let traffic = (0..<rankCount).map {
            geometry.predictedTraffic(of: $0, over: flatRoutes(rankCount, isShared: isShared))
          }
          let headers = isShared ? 0 : 64 * 2 * (rankCount - 1) * geometry.segments.reduce(0) { $0 + $1.count }
          #expect(traffic.reduce(0) { $0 + $1.bytesSent } == 2 * (rankCount - 1) * encoded + headers)
          #expect(traffic.reduce(0) { $0 + $1.bytesReceived } == 2 * (rankCount - 1) * encoded + headers)
          #expect(
            traffic.reduce(0) { $0 + $1.messagesSent } == 2 * (rankCount - 1) * geometry.segments.reduce(0) { $0 + $1.count })
        }
      }
    }
  }

  /// Models whose traffic must be flat in the number of ranks, and equal among them.
  static let models: [(name: String, layout: TensorLayout)] = [
    ("mlp:512,512", Layouts.layout(inputs: 784, hidden: [512, 512], classes: 10)),
    ("mlp of the paper", Layouts.layout(inputs: 429, hidden: Array(repeating: 2048, count: 7), classes: 9304)),
    ("wide", Layouts.layout(inputs: 2048, hidden: [2048, 2048], classes: 2048)),
  ]

  @Test(.oneProcess, arguments: 0..<models.count, [ReferenceCodec.none, .oneBit(elements: nil), .oneBit(elements: 1024)])
  func isFlatAndBalanced(_ model: Int, _ codec: ReferenceCodec) throws {
    for isShared in [true, false] {
      var normalised: [Double] = []
      for rankCount in [2, 4, 8] {
        let geometry = ExchangeGeometry(
          Self.models[model].layout, codec: try makeCodec(codec), rankCount: rankCount,
          rule: isShared ? .sharedWindow : .messages)
        let sent = (0..<rankCount).map {
          geometry.predictedTraffic(of: $0, over: flatRoutes(rankCount, isShared: isShared)).bytesSent
        }
        #expect(Double(sent.max()!) < 1.05 * Double(sent.min()!), "\(rankCount) ranks")
        let factor = 2 * Double(rankCount - 1) / Double(rankCount)
        normalised += sent.map { Double($0) / factor }
      }
      #expect(normalised.max()! < 1.05 * normalised.min()!)
    }
  }

  /// Whole models of rows from 1024: at most 1.10 bits a parameter and direction, at least 29 times less than floats.
  @Test(
    .oneProcess,
    arguments: [
      Layouts.layout(inputs: 1024, hidden: [1024], classes: 10),
      Layouts.layout(inputs: 1024, hidden: [1024, 1024], classes: 60),
      Layouts.layout(inputs: 2048, hidden: Array(repeating: 2048, count: 7), classes: 2048),
      Layouts.layout(inputs: 3072, hidden: [2048, 1024], classes: 10),
    ]) func compresses(_ layout: TensorLayout) throws
  {
    for rankCount in [2, 3, 4, 5, 8] {
      for isShared in [true, false] {
        func bytesSent(_ codec: any Codec) -> Int {
          let geometry = ExchangeGeometry(
            layout, codec: codec, rankCount: rankCount, rule: isShared ? .sharedWindow : .messages)
          return (0..<rankCount).reduce(0) {
            $0 + geometry.predictedTraffic(of: $1, over: flatRoutes(rankCount, isShared: isShared)).bytesSent
          }
        }
        let encoded = bytesSent(OneBit())
        let bits = Double(encoded * 8) / Double(2 * (rankCount - 1) * layout.count)
        #expect(bits <= 1.10 && bits > 1, "\(rankCount) ranks: \(bits) bits")
        let ratio = Double(bytesSent(Identity())) / Double(encoded)
        #expect(ratio >= 29, "\(rankCount) ranks: \(ratio)")
      }
    }
  }

  /// Counts add, subtract and multiply.
  @Test func arithmetic() {
    var one = Traffic()
    (one.networkBytesSent, one.networkBytesReceived, one.hostBytesSent) = (1, 20, 300)
    (one.hostBytesReceived, one.messagesSent, one.rawGroups) = (4000, 50_000, 600_000)
    #expect(one.bytesSent == 301 && one.bytesReceived == 4020)
    var three = one * 3
    #expect(three - one == one * 2 && one + one + one == three)
    #expect((three.networkBytesSent, three.networkBytesReceived, three.hostBytesSent) == (3, 60, 900))
    #expect((three.hostBytesReceived, three.messagesSent, three.rawGroups) == (12_000, 150_000, 1_800_000))
    three += one
    #expect(three == one * 4 && one * 0 == Traffic() && three / 4 == one)
  }
}
