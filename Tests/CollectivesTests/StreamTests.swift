import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// One stream of gradients whose codec changes on the way.
@Suite(.serialized) struct StreamTests {
  /// What leaves out and what it leaves behind is what came in, whichever codec took it along.
  @Test(arguments: transports) func nothingIsLostWhereTheCodecChanges(_ transport: Transport) throws {
    let layout = Layouts.awkward
    let setting = try Setting(.oneBit(elements: nil), layout, transport)
    let one = setting.exchange
    let others = try [8, 2].map { bits in
      try CodedAllReduce(
        MultiBit(bits: bits, grouping: one.codec.grouping), layout: layout, gradients: [setting.gradient], continuing: one)
    }
    #expect(others.allSatisfy { $0.residual === one.residual && $0.ownerResidual === one.ownerResidual })
    #expect(others.allSatisfy { $0.ownedRanges == one.ownedRanges })
    let rankCount = setting.world.count
    var (arrived, sent) = ([Double](repeating: 0, count: layout.count), [Double](repeating: 0, count: layout.count))
    for (step, exchange) in [others[0], others[0], others[1], one, others[0], one, one].enumerated() {
      let gradients = drawGradients(count: layout.count, seed: 21, step: step, rankCount: rankCount)
      setting.gradient.values.set(gradients[setting.world.rank])
      let output = FloatBuffer(count: layout.count)
      try exchange.run(step: step, samples: 8, into: .buffer(output))
      for index in 0..<layout.count {
        arrived[index] += Double(output[index])
        for gradient in gradients { sent[index] += Double(gradient[index]) }
      }
    }
    var behind = [Double](repeating: 0, count: layout.count)
    if rankCount > 1 {
      var owner = [Float](repeating: 0, count: layout.count)
      for index in owner.indices {
        if let offset = one.ownedOffset(of: index) { owner[index] = one.ownerResidual[offset] }
      }
      for residual in try gatherAll(one.residual.array) + gatherAll(owner) {
        for (index, value) in residual.enumerated() { behind[index] += Double(value) }
      }
    }
    for index in 0..<layout.count {
      #expect(abs(arrived[index] + behind[index] - sent[index]) < 1e-4 * Double(rankCount), "value \(index)")
    }
  }

  /// Shards are cut by one codec's lengths, segments by those of the codec that is sent.
  @Test(.oneProcess, arguments: [1, 2, 5, 8], [true, false])
  func shardsAreThoseOfTheStream(rankCount: Int, isShared: Bool) throws {
    let rule = isShared ? ExchangeGeometry.SegmentRule.sharedWindow : .messages
    let one = try codecs.make("one-bit")
    for layout in Layouts.all.map(\.layout) + TrafficTests.models.map(\.layout) {
      let model = ExchangeGeometry(layout, codec: one, rankCount: rankCount, rule: rule)
      for bits in [2, 16] {
        let codec = MultiBit(bits: bits, grouping: one.grouping)
        let geometry = ExchangeGeometry(layout, codec: codec, ownership: one, rankCount: rankCount, rule: rule)
        for shard in 0..<rankCount {
          #expect(geometry.elements(ofShard: shard) == model.elements(ofShard: shard))
          var groups = 0
          for segment in geometry.segments[shard] {
            groups += segment.groups.count
            #expect(
              segment.payloadByteCount
                == segment.groups.reduce(0) {
                  $0 + codec.encodedByteCount(of: geometry.groupStarts[$1 + 1] - geometry.groupStarts[$1])
                })
          }
          #expect(groups == model.segments[shard].reduce(0) { $0 + $1.groups.count })
        }
      }
    }
  }
}
