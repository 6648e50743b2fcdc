import Buffers
import Collectives
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// What is not finite is sent as zeros, stays out of residuals, and is counted; ranks stay equal.
@Suite(.serialized) struct NonFiniteTests {
  /// Spoils some values of a gradient; the last rank and rank 0 do so in different groups.
  private func spoil(_ gradient: inout [Float], _ layout: TensorLayout, step: Int, rank: Int) {
    func first(_ name: String) -> Int { layout[name]!.range.lowerBound }
    if rank == allRanks.count - 1 {
      switch step {
      case 1: gradient[first("layers.2.weight") + 70] = .nan
      case 2: gradient[first("layers.4.weight") + 4999] = -.infinity
      case 3: gradient[first("vector.2") + 1] = .infinity
      // Finite values whose sum is not.
      case 4: for index in 0..<5 { gradient[first("vector.1000") + 7 + index] = -.greatestFiniteMagnitude }
      default: break
      }
    }
    if rank == 0 {
      if step == 2 { gradient[first("vector.1")] = .nan }
      if step == 3 { gradient[first("vector.33") + 32] = .infinity }
    }
    // Finite means of all ranks whose sum is not: only the owner meets it.
    if step == 5 {
      for index in layout["layers.2.bias"]!.range { gradient[index] = .greatestFiniteMagnitude / 70 }
      for index in layout["vector.2"]!.range { gradient[index] = .greatestFiniteMagnitude * 0.9 }
      gradient[first("vector.31")] = .greatestFiniteMagnitude * 0.9
      for index in layout["vector.31"]!.range.dropFirst() { gradient[index] = -1 }
    }
  }

  @Test(
    .enabled(if: allRanks.count > 1), arguments: [ReferenceCodec.oneBit(elements: nil), .oneBit(elements: 100)], transports)
  func groupsAreSentAsZeros(_ codec: ReferenceCodec, _ transport: Transport) throws {
    let layout = Layouts.awkward
    let setting = try Setting(codec, layout, transport)
    var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
    let owned = reference.geometry.owned(by: allRanks.rank)
    for step in 0..<8 {
      let gradients = (0..<allRanks.count).map { rank in
        var gradient = drawGradient(count: layout.count, seed: 41, step: step, rank: rank)
        spoil(&gradient, layout, step: step, rank: rank)
        return gradient
      }
      let expected = reference.run(gradients)
      #expect(expected.allSatisfy { $0.isFinite })
      let found = try setting.run(gradients[allRanks.rank], step: step)
      #expect(firstDifference(found, expected) == nil, "step \(step)")
      #expect(try isSameOnAllRanks(found), "step \(step)")
      #expect(setting.exchange.nonFiniteGroups == reference.nonFiniteGroups[allRanks.rank], "step \(step)")
      #expect(firstDifference(setting.exchange.residual.array, reference.residuals[allRanks.rank]) == nil, "step \(step)")
      #expect(
        firstDifference(setting.exchange.ownerResidual.array, owned.map { reference.ownerResidual[$0] }) == nil, "step \(step)")
    }
    // The fixture does reach all three places: a contribution of the first and of the last rank, and an owner.
    let total = reference.nonFiniteGroups.reduce(0, +)
    #expect(reference.nonFiniteGroups[0] >= 1 && total >= 4)
    #expect(setting.exchange.traffic == setting.exchange.predictedTraffic * 8)
  }

  /// Floats go as they are, whatever they are: the sum is that of a loop, on all ranks and by both transports.
  @Test(.enabled(if: allRanks.count > 1), arguments: transports) func floatsGoAsTheyAre(_ transport: Transport) throws {
    let layout = Layouts.awkward
    let setting = try Setting(.none, layout, transport)
    for step in 0..<6 {
      let gradients = (0..<allRanks.count).map { rank in
        var gradient = drawGradient(count: layout.count, seed: 42, step: step, rank: rank)
        spoil(&gradient, layout, step: step, rank: rank)
        return gradient
      }
      let found = try setting.run(gradients[allRanks.rank], step: step)
      let sums = (0..<layout.count).map { index in gradients.dropFirst().reduce(gradients[0][index]) { $0 + $1[index] } }
      // Which of two NaNs a sum keeps is the processor's choice.
      func plain(_ values: [Float]) -> [Float] { values.map { $0.isNaN ? .nan : $0 } }
      #expect(firstDifference(plain(found), plain(sums)) == nil, "step \(step)")
      #expect(try isSameOnAllRanks(found), "step \(step)")
    }
  }
}
