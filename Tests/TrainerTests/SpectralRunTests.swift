import Buffers
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs with sums by singular values.
@Suite(.serialized) struct SpectralRunTests {
  private func spectral(_ codec: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.codec = codec
      change(&$0)
    }
  }

  /// What waits on all ranks, of contributions and of sums; collective.
  private func waiting(_ trainer: TrainingRun, over group: Communicator) throws -> [Double] {
    let state = StateInventory(of: trainer.strategy)
    var sum = try #require(state.tensor("residual")).values.map { Double($0) }
    let sums = try #require(state.tensor("ownerResidual"))
    if case .owned(let ranges) = sums.placement {
      for (place, i) in ranges.joined().enumerated() { sum[i] += Double(sums.values[place]) }
    }
    try group.allReduce(&sum, .sum)
    return sum
  }

  /// On another number of ranks what waits keeps its sum.
  @Test(.ranks(atLeast: 2)) func residualsGoOnWithAnotherNumberOfRanks() throws {
    let half = max(1, world.count / 2)
    for (savers, loaders) in [(world.count, half), (half, world.count), (world.count, 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = spectral("svd:rank=1")
      broken.checkpoint = directory.path + "/checkpoints"
      var saved: [Double] = []
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        trainer.lastStep = 6
        _ = try trainer.run()
        saved = try waiting(trainer, over: group)
        #expect(saved.contains { $0 != 0 } == (savers > 1))
      }
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        let found = try waiting(trainer, over: group)
        if world.rank < savers {
          for i in found.indices { #expect(abs(found[i] - saved[i]) < 1e-5, "\(savers) to \(loaders)") }
        }
        _ = try trainer.run()
        // A single rank has nothing left.
        if loaders == 1 { #expect(try waiting(trainer, over: group).allSatisfy { $0 == 0 }) }
      }
    }
    try world.barrier()
  }

  /// Alone, a run is that with floats, bit for bit.
  @Test(arguments: ["svd", "spectral"]) func aSingleRankExchangesNothing(_ codec: String) throws {
    let alone = try #require(try world.split(color: .some(world.rank)))
    let hashes = try [codec, "none"].map { try TrainingRun(spectral($0), on: alone, isSilent: true).run().modelHash }
    #expect(hashes[0] == hashes[1])
  }

  @Test(arguments: ["svd:rank=1", "spectral:rank=4"], ["all-reduce", "double-buffer"])
  func trainingLearns(_ codec: String, _ strategy: String) throws {
    let outcome = try train(spectral(codec) { ($0.strategy, $0.steps, $0.learningRate) = (strategy, 120, 0.05) })
    let evaluation = try #require(outcome.evaluation)
    #expect(evaluation.accuracy > 0.3, "\(codec), \(strategy): \(evaluation)")
  }
}
