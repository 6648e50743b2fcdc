import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// The choice of one rank for all, against its definition and its laws.
@Suite(.serialized) struct LeaderTopKTests {
  /// All ranks in one place: what arrives, and what stays on each.
  private struct Reference {
    let (k, beta): (Int, Float)
    var residuals: [[Float]]
    var exchanges = 0

    mutating func run(_ gradients: [[Float]]) -> [Float] {
      let v = zip(gradients, residuals).map { zip($0, $1).map { $0 + beta * $1 } }
      let leader = exchanges % gradients.count
      let order = v[leader].indices.sorted {
        (v[leader][$0].magnitude, -$0) > (v[leader][$1].magnitude, -$1)
      }
      var sum = [Float](repeating: 0, count: v[0].count)
      for (rank, gradient) in gradients.enumerated() {
        residuals[rank] = zip(residuals[rank], gradient).map { $0 + $1 }
      }
      for place in order.prefix(k) {
        sum[place] = v.dropFirst().reduce(v[0][place]) { $0 + $1[place] }
        for rank in v.indices { residuals[rank][place] -= v[rank][place] }
      }
      exchanges += 1
      return sum
    }
  }

  @Test(.ranks(atLeast: 2)) func theTraceOfTheSpecification() throws {
    let gradients: [[Float]] = [[3, 1, 0], [0, 2, 1]]
    var reference = Reference(k: 1, beta: 0.5, residuals: [[0, 0, 0], [0, 0, 0]])
    #expect(reference.run(gradients) == [3, 0, 0])
    #expect(reference.residuals.map { $0.map { $0 / 2 } } == [[0, 0.5, 0], [0, 1, 0.5]])
    #expect(reference.run(gradients) == [0, 4.5, 0])
    #expect(reference.residuals.map { $0.map { $0 / 2 } } == [[1.5, 0.25, 0], [0, 0.5, 1]])
    #expect(reference.run(gradients) == [4.5, 0, 0])
    guard allRanks.count == 2 else { return }
    let run = try AggregationRun("leader-top-k:k=1,feedback=0.5", 3)
    for (step, expected) in ([[3, 0, 0], [0, 4.5, 0], [4.5, 0, 0]] as [[Float]]).enumerated() {
      #expect(try run(gradients[allRanks.rank], step: step) == expected)
    }
    #expect(run.residual.map { $0 / 2 } == [[0.75, 0.75, 0], [0, 1.5, 1.5]][allRanks.rank])
  }

  @Test(arguments: ["leader-top-k:k=1/10", "leader-top-k:k=3,feedback=0.25", "leader-top-k:k=1/1"], transports)
  func equalsTheDefinition(_ specification: String, _ transport: Transport) throws {
    for count in [1, 3, 7, 100, 5000] {
      guard let run = try? AggregationRun(specification, count, transport) else { continue }
      let keys = try Specification(run.exchange.specification)
      let k = try keys.amount("k", default: "").count(of: count)
      var reference = Reference(
        k: k, beta: Float(keys.options["feedback"]!)!,
        residuals: (0..<allRanks.count).map { _ in [Float](repeating: 0, count: count) })
      for step in 0..<2 * allRanks.count + 1 {
        let gradients = drawGradients(count: count, seed: 71, step: step, rankCount: allRanks.count)
        let found = try run(gradients[allRanks.rank], step: step)
        #expect(firstDifference(found, reference.run(gradients)) == nil, "\(count) values, step \(step)")
        #expect(firstDifference(run.residual, reference.residuals[allRanks.rank]) == nil, "\(count) values, step \(step)")
      }
      #expect(run.exchange.traffic.bytesSent <= run.exchange.predictedTraffic.bytesSent * (2 * allRanks.count + 1))
    }
  }

  /// Everybody sees the same gradient: then the choice of one is that of the sum.
  @Test func equalGradientsAreLargestOfTheSum() throws {
    let run = try AggregationRun("leader-top-k:k=10", 400)
    let gradient = drawGradient(count: 400, seed: 72, step: 0, rank: 0)
    let found = try run(gradient)
    let order = gradient.indices.sorted { (gradient[$0].magnitude, -$0) > (gradient[$1].magnitude, -$1) }
    #expect(Set(found.indices.filter { found[$0] != 0 }) == Set(order.prefix(10)))
  }

  @Test func aLeaderWithNothingChoosesTheFirst() throws {
    let run = try AggregationRun("leader-top-k:k=4", 50)
    let gradient = [Float](repeating: allRanks.rank == 0 ? 0 : 1, count: 50)
    let found = try run(gradient)
    #expect(found == (0..<50).map { $0 < 4 ? Float(allRanks.count - 1) : 0 })
  }

  @Test(.ranks(atLeast: 2)) func whatIsNotFiniteWaits() throws {
    let run = try AggregationRun("leader-top-k:k=5", 60)
    var gradient = drawGradient(count: 60, seed: 73, step: 0, rank: allRanks.rank)
    _ = try run(gradient)
    let before = run.residual
    if allRanks.rank == 1 { gradient[7] = .nan }
    let found = try run(gradient, step: 1)
    #expect(found.allSatisfy { $0.isFinite })
    #expect(run.exchange.nonFiniteGroups == (allRanks.rank == 1 ? 1 : 0))
    #expect((run.residual == before) == (allRanks.rank == 1))
  }

  @Test func whatCannotBeIsRefused() {
    for text in ["leader-top-k:k=0", "leader-top-k:k=101", "leader-top-k:feedback=0", "leader-top-k:rank=1"] {
      #expect(throws: SpecificationError.self, "\(text)") { _ = try AggregationRun(text, 100) }
    }
  }
}
