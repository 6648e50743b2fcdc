import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Sums by singular values against their formulas, and their laws.
@Suite(.serialized) struct SpectralTests {
  @Test(arguments: transports, [1, 2, 4]) func theFormulasInFP64(_ transport: Transport, _ rank: Int) throws {
    for (rows, columns) in [(24, 40), (40, 24)] {
      let run = try AggregationRun("svd:rank=\(rank)", TensorLayout([("weights", [rows, columns])]), transport)
      var reference = SpectralReference(rows: rows, columns: columns, rank: rank, rankCount: allRanks.count)
      for step in 0..<4 {
        let gradients = (0..<allRanks.count).map { FactorTests.draw(rows * columns, step: step, rank: $0) }
        let sum = try run(gradients[allRanks.rank], step: step)
        if allRanks.count == 1 {
          #expect(sum == gradients[0])
          continue
        }
        let (expected, waiting) = (reference.run(gradients), run.waiting)
        // The only block has the first rank as its owner, or another one, which alone keeps something.
        let keeps = waiting.sums.contains { $0 != 0 }
        #expect(firstDifference(sum, expected, within: 1e-4) == nil, "step \(step)")
        #expect(firstDifference(waiting.own, reference.residuals[allRanks.rank], within: 1e-4) == nil, "step \(step)")
        if keeps { #expect(firstDifference(waiting.sums, reference.ownerResidual, within: 1e-4) == nil, "step \(step)") }
        #expect(try allRanks.allReduce(keeps ? 1 : 0, .sum) == 1)
      }
    }
  }

  /// A matrix that is cut is several, of as many rows.
  @Test func blocksAreMatrices() throws {
    let (rows, columns) = (25, 40)
    let cut = try AggregationRun("svd:rank=1,side=9", TensorLayout([("weights", [rows, columns])]))
    let parts = [9, 8, 8].enumerated().map { ("part.\($0)", [$1, columns]) }
    let whole = try AggregationRun("svd:rank=1", TensorLayout(parts))
    for step in 0..<3 {
      let own = FactorTests.draw(rows * columns, step: step, rank: allRanks.rank)
      #expect(try cut(own, step: step) == whole(own, step: step), "step \(step)")
    }
  }

  /// Drawn values are right on average, though ranks and owners draw.
  @Test(.ranks(atMost: 4)) func drawnSumsAreUnbiased() throws {
    guard allRanks.count > 1 else { return }
    let layout = TensorLayout([("weights", [10, 24])])
    let run = try AggregationRun("spectral:rank=2", layout)
    let gradients = (0..<allRanks.count).map { FactorTests.draw(layout.count, step: 0, rank: $0) }
    var (sums, squares) = ([Double](repeating: 0, count: layout.count), [Double](repeating: 0, count: layout.count))
    let steps = 2000
    for step in 0..<steps {
      let found = try run(gradients[allRanks.rank], step: step)
      for i in found.indices {
        let difference = Double(found[i]) - gradients.reduce(0.0) { $0 + Double($1[i]) }
        sums[i] += difference
        squares[i] += difference * difference
      }
    }
    for i in sums.indices {
      let mean = sums[i] / Double(steps), variance = squares[i] / Double(steps) - mean * mean
      #expect(mean.magnitude <= 4.5 * (max(0, variance) / Double(steps)).squareRoot(), "value \(i): \(mean)")
    }
    #expect(squares.allSatisfy { $0 > 0 })
    #expect(run.exchange.residualSquares == 0)
  }

  /// A plan measures the work of a rank by itself: sums are then products, too.
  @Test func aSingleRankCanWorkLikeSeveral() throws {
    guard allRanks.count == 1 else { return }
    let layout = TensorLayout([("weights", [24, 40])])
    let run = try AggregationRun("svd:rank=1", layout, worksAlone: true)
    let own = FactorTests.draw(layout.count, step: 0, rank: 0)
    var reference = SpectralReference(rows: 24, columns: 40, rank: 1, rankCount: 1)
    for (found, wanted) in zip(try run(own), reference.run([own])) { #expect(abs(Double(found) - wanted) < 1e-5) }
    #expect(run.exchange.residualSquares > 0)
    let passing = try AggregationRun("svd:rank=1", layout)
    #expect(try passing(own) == own)
  }

  @Test(.ranks(atLeast: 2), arguments: ["svd:rank=1", "spectral:rank=1"], [3e38, .nan] as [Float])
  func whatIsTooLargeWaits(_ name: String, _ value: Float) throws {
    let layout = TensorLayout([("weights", [24, 40]), ("others", [24, 40])])
    let run = try AggregationRun(name, layout)
    var own = FactorTests.draw(layout.count, step: 0, rank: allRanks.rank)
    _ = try run(own, step: 0)
    let before = run.waiting.own
    if allRanks.rank == 1 { own[7] = value }
    let sum = try run(own, step: 1)
    #expect(sum.allSatisfy { $0.isFinite })
    #expect(run.exchange.nonFiniteGroups == (allRanks.rank == 1 ? 1 : 0))
    if allRanks.rank == 1 { #expect(Array(run.waiting.own[..<960]) == Array(before[..<960])) }
  }

  @Test func keysAreChecked() throws {
    #expect(try aggregations.make("svd").specification == "svd:rank=2,side=128")
    for text in ["svd:rank=0", "svd:rank=65", "svd:side=1", "spectral:columns=2", "spectral:2"] {
      #expect(throws: SpecificationError.self) { try aggregations.make(text) }
    }
  }
}
