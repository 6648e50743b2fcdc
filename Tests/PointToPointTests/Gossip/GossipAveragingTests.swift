import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import _TestSupport
@testable import _CollectivesSupport

/// Averaging alone, without data (experiments §5.1): workers come to the mean of their starts, as fast as the guide says.
@Suite(.serialized, .enabled(if: [1, 2, 4].contains(World.count), "8 workers")) struct GossipAveragingTests {
  private static let ring = MixingMatrix(metropolis: GossipGraph(.ring, count: 8))
  private static let starts = normalModels(workers: 8, count: 2048)

  /// Σ‖x_i − x̄‖² over its start, and how far the mean has moved, relative to it.
  private func average(_ method: GossipExchange.Method, rounds: Int) throws -> (distance: Double, drift: Double) {
    let trial = try GossipTrial(method, workers: 8, count: 2048)
    try trial.set(Self.starts)
    try trial.run(0..<rounds)
    let models = try trial.models()
    return (models.distance / Self.starts.distance, drift(models.mean, from: Self.starts.mean))
  }

  /// The guide's bar: below 1e-5 with a drift below 1e-6; models mixed directly as codes stay above 0.1.
  @Test func codesOfDifferencesAgreeOnTheMean() throws {
    let bits = try average(.compressedMixing(Self.ring, codec: codecs.make("one-bit:group=256"), gamma: 0.4), rounds: 300)
    #expect(bits.distance < 1e-5 && bits.drift < 1e-6, "\(bits)")
    // Every fiftieth value.
    let largest = try average(.compressedMixing(Self.ring, codec: Largest(kept: 5, size: 256), gamma: 0.05), rounds: 600)
    // 600 roundings of each value to 2⁻²⁴ of its size.
    #expect(largest.distance < 1e-5 && largest.drift < 2e-6, "\(largest)")
    // The guide's 167 rounds to 1e-4 of the distance.
    let soon = try average(.compressedMixing(Self.ring, codec: codecs.make("one-bit:group=256"), gamma: 0.4), rounds: 60)
    #expect(soon.distance > 1e-4, "\(soon)")
  }

  /// Exact gossip comes to a millionth in as many rounds as the second eigenvalue says.
  @Test func meansOfModelsContractByTheEigenvalue() throws {
    let cases: [(GossipGraph.Shape, Int, Int)] = [
      (.ring, 8, 64), (.ring, 16, 266), (.exponential, 8, 13), (.exponential, 16, 20),
    ]
    for (shape, workers, rounds) in cases {
      let matrix = MixingMatrix(metropolis: GossipGraph(shape, count: workers))
      let (trial, starts) = (
        try GossipTrial(.mixing(matrix), workers: workers, count: 256), normalModels(workers: workers, count: 256)
      )
      try trial.set(starts)
      #expect(
        power(matrix.secondEigenvalue, Double(rounds)) <= 1e-6 && power(matrix.secondEigenvalue, Double(rounds - 1)) > 1e-6)
      try trial.run(0..<rounds / 2)
      let half = try trial.models()
      let bound = power(matrix.secondEigenvalue, Double(rounds / 2))
      let left = (half.distance / starts.distance).squareRoot()
      #expect(left < bound && left > bound / 10, "\(shape) \(workers): \(left) \(bound)")
      try trial.run(rounds / 2..<rounds)
      let end = try trial.models()
      // The values are rounded to 2⁻²⁴ of their size.
      #expect((end.distance / starts.distance).squareRoot() < 1.2e-6 && drift(end.mean, from: starts.mean) < 1e-6)
    }
  }

  /// Some receive more than others: what they hold is divided by its weight.
  ///
  /// With one peer in turn that would not show.
  @Test func pushesAreFreedOfTheirWeights() throws {
    for (workers, targets) in [
      (8, GossipRoutes.Kind.random), (12, .random), (8, .graph(GossipGraph(count: 8, edges: (1..<8).map { (0, $0) }))),
    ] {
      let (trial, starts) = (
        try GossipTrial(.pushSum(targets), workers: workers, count: 256), normalModels(workers: workers, count: 256)
      )
      try trial.set(starts)
      try trial.run(0..<100)
      let models = try trial.models()
      let size = starts.mean.map { $0 * $0 }.reduce(0, +).squareRoot()
      let error = (models.distance / Double(workers)).squareRoot() / size + drift(models.mean, from: starts.mean)
      #expect(error < 2e-5, "\(workers) \(targets): \(error)")
      // Σω = K and Σx stay, but for the rounding of each step.
      #expect(abs(try trial.sums("pushWeights")[0] - Double(workers)) < 1e-4)
      let sums = try trial.sums()
      #expect((0..<256).allSatisfy { abs(sums[$0] / Double(workers) - starts.mean[$0]) < 1e-5 })
    }
  }

  /// Pairs with momentum come together on average, and keep their mean.
  @Test func pairsKeepTheMean() throws {
    for workers in [8, 12] {
      let step = OuterPairStep(rate: 0.7, momentum: 0.5, gamma: 0.7)
      let (trial, starts) = (
        try GossipTrial(.outerPairs(every: 1, step), workers: workers, count: 256), normalModels(workers: workers, count: 256)
      )
      try trial.set(starts, "slowModels")
      try trial.set(starts)
      try trial.run(0..<40)
      let models = try trial.models()
      let left = power(models.distance / starts.distance, 1.0 / 40)
      #expect(abs(left - step.contraction(of: workers)) < 0.15, "\(workers): \(left)")
      #expect(drift(models.mean, from: starts.mean) < 2e-6)
    }
  }
}
