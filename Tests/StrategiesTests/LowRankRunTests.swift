import Buffers
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs with sums of which ranks keep the factors on one side: those of low rank, and principal components.
@Suite(.serialized) struct LowRankRunTests {
  /// Such sums, and the names of the factors and of the count of exchanges in their state.
  struct Sums: CustomTestStringConvertible, Sendable {
    let codec, factors, exchanges: String
    var testDescription: String { codec }

    static let all = [
      Sums(codec: "low-rank:rank=1,refresh=4", factors: "rightFactors", exchanges: "lowRankExchanges"),
      Sums(codec: "pca:length=16,components=2,refresh=5", factors: "components", exchanges: "componentExchanges"),
    ]

    /// The residuals, the factors and the count of exchanges.
    func state(_ trainer: TrainingRun) throws -> (residual: [Float], factors: [Float], exchanges: String) {
      let state = StateInventory(of: trainer.strategy)
      return (
        Array(try #require(state.tensor("residual")).values), Array(try #require(state.tensor(factors)).values),
        try #require(state.counters[exchanges])
      )
    }
  }

  private func sum(_ residual: [Float], over group: Communicator) throws -> [Double] {
    let all = try group.allGather(residual)
    return residual.indices.map { i in (0..<group.count).reduce(0) { $0 + Double(all[$1 * residual.count + i]) } }
  }

  /// On another number of ranks residuals keep their sum, and all have the factors that each had.
  @Test(.ranks(atLeast: 2), arguments: Sums.all) func residualsGoOnWithAnotherNumberOfRanks(_ sums: Sums) throws {
    let half = max(1, world.count / 2)
    for (savers, loaders) in [(world.count, half), (half, world.count), (world.count, 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = options { $0.codec = sums.codec }
      broken.checkpoint = directory.path + "/checkpoints"
      var (saved, factors, residual): ([UInt64], [Float], [Double]) = ([0, 0], [], [])
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        trainer.lastStep = 6
        _ = try trainer.run()
        let found = try sums.state(trainer)
        (factors, residual) = (found.factors, try sum(found.residual, over: group))
        saved = [UInt64(factors.count), try #require(UInt64(found.exchanges))]
        #expect(try group.allGather(found.factors) == Array(repeating: factors, count: savers).flatMap { $0 })
        #expect(residual.contains { $0 != 0 } == (savers > 1))
      }
      try world.broadcast(&saved, root: 0)
      #expect(saved[0] > 0)
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        let found = try sums.state(trainer)
        #expect(found.exchanges == "\(saved[1])")
        let total = try sum(found.residual, over: group)
        if world.rank < min(savers, loaders) {
          #expect(found.factors == factors, "\(savers) to \(loaders)")
          for i in total.indices { #expect(abs(total[i] - residual[i]) < 1e-5, "\(savers) to \(loaders), value \(i)") }
        }
        _ = try trainer.run()
        // A single rank has nothing left.
        if loaders == 1 { #expect(try sums.state(trainer).residual.allSatisfy { $0 == 0 }) }
      }
    }
    try world.barrier()
  }

  /// Alone, a run is that with floats, bit for bit.
  @Test(arguments: Sums.all) func aSingleRankExchangesNothing(_ sums: Sums) throws {
    let alone = try #require(try world.split(color: .some(world.rank)))
    let hashes = try [sums.codec, "none"].map { codec in
      try TrainingRun(options { $0.codec = codec }, on: alone, isSilent: true).run().modelHash
    }
    #expect(hashes[0] == hashes[1])
  }

  @Test(arguments: ["all-reduce", "double-buffer"]) func trainingLearns(_ strategy: String) throws {
    let outcome = try train(
      options { ($0.codec, $0.strategy, $0.steps, $0.learningRate) = (Sums.all[0].codec, strategy, 200, 0.05) })
    let evaluation = try #require(outcome.evaluation)
    #expect(evaluation.accuracy > 0.35, "\(strategy): \(evaluation)")
  }
}
