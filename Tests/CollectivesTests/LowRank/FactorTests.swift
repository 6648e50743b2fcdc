import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// What holds for all sums whose matrices travel as two factors.
@Suite(.serialized) struct FactorTests {
  /// Those of rank two, and without what only `low-rank` draws anew.
  private static let specifications = ["low-rank:rank=2,refresh=0", "svd", "spectral"]

  private static let model = TensorLayout([
    ("filters", [20, 3, 5, 5]), ("first.bias", [20]), ("weights", [33, 50]), ("bias", [33]), ("small", [3, 4]),
    ("last", [10, 64]),
  ])

  /// The gradient of a rank: nearly normal, of this magnitude.
  static func draw(_ count: Int, step: Int, rank: Int, magnitude: Float = 1) -> [Float] {
    let random = Philox(seed: 43, purpose: .tests, step: step, stream: rank)
    return (0..<count).map { i in
      magnitude * ((random.uniform(i) - 0.5) + (random.uniform(i, tensor: 1) - 0.5) + (random.uniform(i, tensor: 2) - 0.5))
    }
  }

  @Test(arguments: ["low-rank:rank=2,refresh=2", "svd:side=16", PCATests.short], [1e-42, 1e-30, 1, 1e25] as [Double])
  func nothingIsLost(_ specification: String, _ size: Double) throws {
    let (magnitude, layout) = (Float(size), Self.model)
    let run = try AggregationRun(specification, layout)
    var before = [Double](repeating: 0, count: layout.count)
    for step in 0..<6 {
      let own = Self.draw(layout.count, step: step, rank: allRanks.rank, magnitude: magnitude)
      let (sum, waiting) = (try run(own, step: step), run.waiting)
      let all = try allRanks.allGather(own + waiting.own + waiting.sums)
      var (after, given) = ([Double](repeating: 0, count: layout.count), before)
      for rank in 0..<allRanks.count {
        for i in 0..<layout.count {
          given[i] += Double(all[3 * rank * layout.count + i])
          after[i] += Double(all[(3 * rank + 1) * layout.count + i]) + Double(all[(3 * rank + 2) * layout.count + i])
        }
      }
      let bound = 1e-4 * Double(magnitude) * Double(allRanks.count) + 0x1p-140
      #expect(firstDifference(zip(sum, after).map { Double($0) + $1 }, given, within: bound) == nil, "step \(step)")
      before = after
      // Vectors and what is too small are sums.
      for name in ["first.bias", "bias", "small"] {
        for i in try #require(layout[name]).range { #expect(waiting.own[i] == 0) }
      }
    }
    #expect(run.exchange.nonFiniteGroups == 0)
    #expect((run.exchange.residualSquares > 0) == (allRanks.count > 1))
  }

  @Test(arguments: specifications) func aMatrixOfThatRankArrivesWhole(_ specification: String) throws {
    let (rows, columns) = (30, 40)
    let run = try AggregationRun(specification, TensorLayout([("weights", [rows, columns])]))
    let (a, b) = (Self.draw(2 * rows, step: 0, rank: 0), Self.draw(2 * columns, step: 1, rank: 0))
    let matrix = (0..<rows * columns).map { i in
      a[i / columns] * b[i % columns] + a[rows + i / columns] * b[columns + i % columns]
    }
    for step in 0..<3 {
      let sum = try run(matrix, step: step)
      let expected = matrix.map { Double(allRanks.count) * Double($0) }
      #expect(firstDifference(sum, expected, within: 1e-5 * Double(allRanks.count)) == nil)
      // Alone, it is the gradient itself.
      if allRanks.count == 1 { #expect(sum == matrix) }
    }
  }

  /// And do not hinder what comes.
  @Test(arguments: specifications + ["low-rank", PCATests.short]) func zerosStayZeros(_ specification: String) throws {
    let run = try AggregationRun(specification, Self.model)
    for step in 0..<3 {
      let sum = try run([Float](repeating: 0, count: Self.model.count), step: step)
      #expect(sum.allSatisfy { $0 == 0 })
    }
    let sum = try run(Self.draw(Self.model.count, step: 5, rank: allRanks.rank), step: 3)
    #expect(sum.allSatisfy { $0.isFinite })
    #expect(sum.contains { $0 != 0 })
  }

  @Test(arguments: transports, specifications)
  func bytesAreThoseOfTheFactors(_ transport: Transport, _ specification: String) throws {
    let run = try AggregationRun(specification, Self.model, transport)
    for step in 0..<3 { _ = try run(Self.draw(Self.model.count, step: step, rank: allRanks.rank), step: step) }
    #expect(run.exchange.traffic == run.exchange.predictedTraffic * 3)
    // Matrices of 20 × 75, 33 × 50 and 10 × 64; 20 + 33 + 12 floats.
    let values = 2 * (20 + 75 + 33 + 50 + 10 + 64) + 65
    let sent = try allRanks.allReduce(run.exchange.traffic.bytesSent, .sum)
    #expect(sent == 3 * 2 * (allRanks.count - 1) * 4 * values)
  }
}
