import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// With `passesNonFinite` a group that is not finite on one rank arrives as NaN on all, and nothing else does.
@Suite(.serialized) struct PassedNonFiniteTests {
  static let specifications = ["one-bit", "multi-bit:bits=2,range=2", "multi-bit:bits=8", "chunk-top-k:chunk=64"]

  @Test(.enabled(if: allRanks.count > 1), arguments: specifications, transports)
  func arriveEverywhere(_ specification: String, _ transport: Transport) throws {
    let codec = try codecs.make(specification)
    let layout = TensorLayout([("weight", [40, 64]), ("pair", [2]), ("bias", [64])])
    let hosts = try HostMap(allRanks, transport: transport)
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    var options = CodedAllReduce.Options()
    options.passesNonFinite = true
    let exchange = try CodedAllReduce(codec, layout: layout, gradient: gradient, options: options)
    // Row 3 of the last rank, the pair of rank 0, which is sent raw, and row 9, where finite contributions have an infinite sum.
    let bad = [3 * 64..<4 * 64, 40 * 64..<40 * 64 + 2, 9 * 64..<10 * 64]
    for step in 0..<4 {
      gradient.values.set(drawGradient(count: layout.count, seed: 77, step: step, rank: allRanks.rank))
      if step == 2 {
        if allRanks.rank == allRanks.count - 1 { gradient.values[3 * 64 + 5] = .infinity }
        if allRanks.rank == 0 { gradient.values[40 * 64 + 1] = .nan }
        for index in bad[2] { gradient.values[index] = .greatestFiniteMagnitude / 70 }
      }
      let residual = exchange.residual.array
      let sum = FloatBuffer(count: layout.count)
      try exchange.run(step: step, into: .buffer(sum))
      let nan = sum.array.indices.filter { !sum[$0].isFinite }
      if step == 2 {
        #expect(bad[0].allSatisfy(nan.contains) && nan.contains(40 * 64 + 1))
        #expect(nan.allSatisfy { index in bad.contains { $0.contains(index) } })
        let isBad = allRanks.rank == allRanks.count - 1
        if isBad { #expect(bad[0].allSatisfy { exchange.residual[$0].bitPattern == residual[$0].bitPattern }) }
      } else {
        #expect(nan.isEmpty, "step \(step)")
      }
      #expect(exchange.residual.array.allSatisfy { $0.isFinite } && exchange.ownerResidual.array.allSatisfy { $0.isFinite })
      #expect(try isSameOnAllRanks(sum.array.map { $0.isNaN ? .nan : $0 }), "step \(step)")
    }
    #expect(try allRanks.allReduce(exchange.nonFiniteGroups, .sum) >= 2)
  }
}
