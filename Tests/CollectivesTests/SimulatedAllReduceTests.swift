import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// A simulation has the bits of the exchange that it stands for.
@Suite(.serialized, .ranks(atMost: 4)) struct SimulatedAllReduceTests {
  private static let more = [
    "one-bit:group=64", "rotated:bits=4,group=64,scale=unbiased", "chunk-top-k:k=1/8,chunk=64,divide=senders",
    "qsgd:levels=1,norm=l2,code=elias", "multi-bit:feedback=0.5", "random-k:seed=shared",
  ]

  private func gradient(_ count: Int, step: Int, rank: Int) -> [Float] {
    var random = SplitMix(73, step, rank)
    return (0..<count).map { _ in
      let word = random.next()
      return Float(Int(word % 2001) - 1000) / 256 * (word >> 40 % 20 == 0 ? 16 : 1)
    }
  }

  @Test(arguments: codecs.entries.map(\.name) + more) func itIsTheExchange(_ name: String) throws {
    let codec = try codecs.make(name)
    for layout in AggregationTests.layouts {
      for transport in transports {
        let hosts = try HostMap(allRanks, transport: transport)
        let own = try SharedGradient(count: layout.count, hosts: hosts)
        var options = CodedAllReduce.Options()
        (options.topology, options.seed) = (.flat, 9)
        let exchange = try CodedAllReduce(codec, layout: layout, gradient: own, options: options)
        let simulation = SimulatedAllReduce(
          codec, layout: layout, rankCount: allRanks.count, seed: 9,
          rule: hosts.remoteRanks.isEmpty ? .sharedWindow : .messages)
        let (found, expected) = (FloatBuffer(count: layout.count), FloatBuffer(count: layout.count))
        for step in 0..<3 {
          let gradients = (0..<allRanks.count).map { rank in
            let buffer = FloatBuffer(count: layout.count)
            buffer.set(gradient(layout.count, step: step, rank: rank))
            return buffer
          }
          own.values.copy(from: gradients[allRanks.rank])
          try exchange.run(step: step, into: .buffer(expected))
          found.fill(.nan)
          simulation.run(step: step, gradients, into: found)
          #expect(
            found.array.map(\.bitPattern) == expected.array.map(\.bitPattern), "\(layout.count), \(transport), step \(step)")
        }
      }
    }
  }

  /// What is no number crosses as zeros, here and there.
  @Test func valuesThatAreNotFiniteAreSentAsZeros() throws {
    let layout = TensorLayout([("weights", [4, 64])])
    let simulation = SimulatedAllReduce(OneBit(), layout: layout, rankCount: 2)
    let gradients = (0..<2).map { _ in FloatBuffer(count: 256) }
    for buffer in gradients { buffer.fill(1) }
    gradients[0][70] = .nan
    let sum = FloatBuffer(count: 256)
    simulation.run(step: 0, gradients, into: sum)
    #expect(sum.array == (0..<256).map { $0 / 64 == 1 ? 1 : 2 })
    // A group of two means and 64 signs.
    #expect(simulation.byteCounts.contributions == 2 * 4 * 16 && simulation.byteCounts.sums == 4 * 16)
  }
}
