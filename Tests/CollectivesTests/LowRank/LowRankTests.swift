import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Low-rank sums against their formulas, and their laws.
@Suite(.serialized) struct LowRankTests {
  /// Places a matrix of three rows and two columns at the start of one of sixteen by sixteen zeros.
  private func padded(_ values: [Float]) -> [Float] {
    var matrix = [Float](repeating: 0, count: 256)
    for (i, value) in values.enumerated() { matrix[i / 2 * 16 + i % 2] = value }
    return matrix
  }

  @Test(.ranks(atLeast: 2)) func theTraceOfTheSpecification() throws {
    // Q begins with (1, −1), or with signs of which it differs: those of the columns with zeros do not matter.
    let seed = try #require(
      (1...100).first { (seed: UInt64) in
        let signs = LowRankReference.signs(0, count: 16, seed: seed)
        return signs[0] != signs[1]
      })
    let run = try AggregationRun("low-rank:rank=1,refresh=0", TensorLayout([("weights", [16, 16])]), seed: seed)
    let own: [Float] = allRanks.rank == 0 ? [1, 2, 3, 4, 5, 6] : allRanks.rank == 1 ? [1, 0, 0, 1, 1, 1] : [0, 0, 0, 0, 0, 0]
    let steps: [(p: [Double], q: [Double])] = [
      ([0, -0.89442719, -0.4472136], [-2.68328157, -3.80131556]),
      ([-0.3572181, -0.21186729, -0.90967438], [-5.20799361, -5.87469809]),
    ]
    for (step, (p, q)) in steps.enumerated() {
      let sum = try run(padded(own), step: step)
      for row in 0..<3 {
        for column in 0..<2 {
          // The trace has means of two.
          #expect(abs(Double(sum[row * 16 + column]) - 2 * p[row] * q[column]) < 2e-5, "step \(step)")
        }
      }
    }
  }

  @Test(arguments: transports, [1, 2, 4]) func theFormulasInFP64(_ transport: Transport, _ rank: Int) throws {
    let (rows, columns) = (24, 40)
    let run = try AggregationRun("low-rank:rank=\(rank),refresh=0", TensorLayout([("weights", [rows, columns])]), transport)
    var reference = LowRankReference(
      rows: rows, columns: columns, right: (0..<rank).map { LowRankReference.signs($0, count: columns) },
      rankCount: allRanks.count)
    for step in 0..<6 {
      let gradients = (0..<allRanks.count).map { FactorTests.draw(rows * columns, step: step, rank: $0) }
      let sum = try run(gradients[allRanks.rank], step: step)
      if allRanks.count == 1 {
        #expect(sum == gradients[0])
        continue
      }
      let expected = reference.run(gradients)
      #expect(firstDifference(sum, expected, within: 1e-3) == nil, "step \(step)")
      #expect(firstDifference(run.residual, reference.residuals[allRanks.rank], within: 1e-3) == nil, "step \(step)")
    }
  }

  /// What the factors leave out comes with a column that is drawn anew, and without one never.
  @Test(.ranks(atLeast: 2)) func aNewColumnFindsWhatIsLeftOut() throws {
    let layout = TensorLayout([("weights", [16, 16])])
    let own = (0..<256).map { Float(allRanks.rank == 0 && ($0 == 0 || $0 == 17) ? 1 : 0) }
    func residual(_ refresh: Int) throws -> Double {
      let run = try AggregationRun("low-rank:rank=1,refresh=\(refresh)", layout)
      for step in 0..<20 { _ = try run(own, step: step) }
      return try allRanks.allReduce(run.exchange.residualSquares.squareRoot(), .sum)
    }
    let (without, with) = (try residual(0), try residual(3))
    #expect(without > 18)
    #expect(with < 10)
  }

  /// A plan measures the work of a rank by itself: sums are then products, too, and what they lack waits.
  @Test func aSingleRankCanWorkLikeSeveral() throws {
    guard allRanks.count == 1 else { return }
    let layout = TensorLayout([("weights", [24, 40])])
    let run = try AggregationRun("low-rank:rank=1,refresh=0", layout, worksAlone: true)
    let own = FactorTests.draw(layout.count, step: 0, rank: 0)
    var reference = LowRankReference(
      rows: 24, columns: 40, right: [LowRankReference.signs(0, count: 40)], rankCount: 1)
    for (found, wanted) in zip(try run(own), reference.run([own])) { #expect(abs(Double(found) - wanted) < 1e-5) }
    #expect(run.residual.contains { $0 != 0 })
    let passing = try AggregationRun("low-rank:rank=1,refresh=0", layout)
    #expect(try passing(own) == own)
  }

  @Test(.ranks(atLeast: 2)) func whatIsTooLargeWaits() throws {
    let layout = TensorLayout([("weights", [24, 40]), ("others", [24, 40])])
    let run = try AggregationRun("low-rank:rank=1", layout)
    var own = FactorTests.draw(layout.count, step: 0, rank: allRanks.rank)
    _ = try run(own, step: 0)
    let before = run.residual
    if allRanks.rank == 1 { own[7] = 3e38 }
    let sum = try run(own, step: 1)
    #expect(sum.allSatisfy { $0.isFinite })
    if allRanks.rank == 1 {
      #expect(Array(run.residual[..<960]) == Array(before[..<960]) && run.exchange.nonFiniteGroups == 1)
    } else {
      #expect(run.exchange.nonFiniteGroups == 0)
    }
    #expect(Array(run.residual[960...]) != Array(before[960...]))
  }

  @Test func keysAreChecked() {
    for text in ["low-rank:rank=0", "low-rank:rank=65", "low-rank:refresh=-1", "low-rank:columns=2", "low-rank:2"] {
      #expect(throws: SpecificationError.self) { try aggregations.make(text) }
    }
  }
}
