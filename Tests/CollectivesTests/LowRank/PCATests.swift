import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Sums by principal components against their formulas, and their laws.
@Suite(.serialized) struct PCATests {
  /// One for small tensors.
  static let short = "pca:length=16,components=2,refresh=8"

  @Test(arguments: transports, [(1, 5), (2, 8), (3, 1_000_000)])
  func theFormulasInFP64(_ transport: Transport, _ setting: (components: Int, refresh: Int)) throws {
    let (count, length) = (24 * 32, 16)
    let run = try AggregationRun(
      "pca:length=\(length),components=\(setting.components),refresh=\(setting.refresh)", count, transport)
    var reference = PCAReference(
      count: count, length: length, components: setting.components, refresh: setting.refresh, rankCount: allRanks.count)
    for step in 0..<18 {
      let magnitude = Float(1 << (step / 4))
      let gradients = (0..<allRanks.count).map { FactorTests.draw(count, step: step, rank: $0, magnitude: magnitude) }
      let sum = try run(gradients[allRanks.rank], step: step)
      if allRanks.count == 1 {
        #expect(sum == gradients[0])
        continue
      }
      let sampled = reference.sampled
      let expected = reference.run(gradients)
      #expect(firstDifference(sum, expected, within: 2e-3 * Double(magnitude)) == nil, "step \(step)")
      #expect(
        firstDifference(run.residual, reference.residuals[allRanks.rank], within: 2e-3 * Double(magnitude)) == nil,
        "step \(step)")
      // Of rows that cross whole nothing stays.
      #expect(run.residual[sampled.lowerBound * length..<sampled.upperBound * length].allSatisfy { $0 == 0 })
    }
  }

  /// Once the components of rows are known, rows that have no others arrive whole.
  @Test(arguments: [1e-40, 1e-20, 1, 1e25] as [Double]) func rowsOfFewComponentsArriveWhole(_ magnitude: Double) throws {
    let (rows, length) = (64, 16)
    let run = try AggregationRun(Self.short, rows * length)
    let directions = FactorTests.draw(2 * length, step: 7, rank: 0)
    func gradient(_ step: Int, isSent: (Int) -> Bool) -> [Float] {
      let shares = FactorTests.draw(2 * rows, step: step, rank: 0, magnitude: Float(magnitude))
      return (0..<rows * length).map { i in
        isSent(i / length)
          ? shares[2 * (i / length)] * directions[i % length] + shares[2 * (i / length) + 1] * directions[length + i % length]
          : 0
      }
    }
    // The first eight rows cross whole in the first exchange, and nothing waits after it.
    _ = try run(gradient(0) { $0 < 8 }, step: 0)
    for step in 1..<20 {
      let own = gradient(step) { _ in true }
      let sum = try run(own, step: step)
      let bound = 1e-4 * magnitude * Double(allRanks.count) + 0x1p-140
      #expect(firstDifference(sum, own.map { Double(allRanks.count) * Double($0) }, within: bound) == nil, "step \(step)")
    }
  }

  @Test(arguments: transports) func bytesAreThoseOfComponentsAndRows(_ transport: Transport) throws {
    let layout = TensorLayout([("weights", [33, 50]), ("bias", [33]), ("small", [3, 4]), ("last", [10, 64])])
    let run = try AggregationRun(Self.short, layout, transport)
    for step in 0..<3 { _ = try run(FactorTests.draw(layout.count, step: step, rank: allRanks.rank), step: step) }
    #expect(run.exchange.traffic == run.exchange.predictedTraffic * 3)
    // 103 and 40 rows, of which 13 and 5 cross whole; 2 + 33 + 12 floats.
    let values = 2 * (103 + 40) + 16 * (13 + 5) + 47
    let sent = try allRanks.allReduce(run.exchange.traffic.bytesSent, .sum)
    #expect(sent == 3 * 2 * (allRanks.count - 1) * 4 * values)
  }

  /// A rank whose values are no numbers is left out, and keeps what it had.
  @Test(.ranks(atLeast: 2), arguments: [Float.nan, .infinity, 0x1p110]) func aRankWithoutNumbersIsLeftOut(_ value: Float) throws
  {
    let count = 32 * 16
    let run = try AggregationRun(Self.short, count)
    var own = FactorTests.draw(count, step: 0, rank: allRanks.rank)
    _ = try run(own, step: 0)
    let before = run.residual
    if allRanks.rank == 1 { own[40] = value }
    let sum = try run(own, step: 1)
    #expect(sum.allSatisfy { $0.isFinite && $0.magnitude < 100 * Float(allRanks.count) })
    #expect(run.exchange.nonFiniteGroups == (allRanks.rank == 1 ? 1 : 0))
    #expect((run.residual == before) == (allRanks.rank == 1))
  }
}
