import Buffers
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs whose ranks share scales.
@Suite(.serialized) struct SharedScaleRunTests {
  private func shared(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.codec = "uniform:bits=4,group=row,scales=shared"
      change(&$0)
    }
  }

  /// What ranks and owners of `group` have not sent.
  private func residuals(_ trainer: TrainingRun, over group: Communicator) throws -> [Double] {
    let state = StateInventory(of: trainer.strategy)
    let (residual, owned) = (try #require(state.tensor("residual")), try #require(state.tensor("ownerResidual")))
    var sums = residual.values.map { Double($0) }
    if case .owned(let ranges) = owned.placement {
      for (place, i) in ranges.joined().enumerated() { sums[i] += Double(owned.values[place]) }
    }
    try group.allReduce(&sums, .sum)
    return sums
  }

  /// On another number of ranks residuals keep their sum; a single one sends them all.
  @Test(.ranks(atLeast: 2)) func residualsGoOnWithAnotherNumberOfRanks() throws {
    let half = max(1, world.count / 2)
    for (savers, loaders) in [(world.count, half), (half, world.count), (world.count, 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = shared()
      broken.checkpoint = directory.path + "/checkpoints"
      var saved: [Double] = []
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        trainer.lastStep = 6
        _ = try trainer.run()
        saved = try residuals(trainer, over: group)
        #expect(saved.contains { $0 != 0 } == (savers > 1))
      }
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        let found = try residuals(trainer, over: group)
        // Rank 0 has saved in any case.
        if world.rank < savers {
          for i in found.indices { #expect(abs(found[i] - saved[i]) < 1e-5, "\(savers) to \(loaders), value \(i)") }
        }
        _ = try trainer.run()
        if loaders == 1 { #expect(try residuals(trainer, over: group).allSatisfy { $0 == 0 }) }
      }
    }
    try world.barrier()
  }

  /// Alone, a run is that with floats, bit for bit.
  @Test func aSingleRankExchangesNothing() throws {
    let alone = try #require(try world.split(color: .some(world.rank)))
    let hashes = try [shared(), options { $0.codec = "none" }].map {
      try TrainingRun($0, on: alone, isSilent: true).run().modelHash
    }
    #expect(hashes[0] == hashes[1])
  }

  @Test(
    arguments: ["all-reduce", "double-buffer"], ["uniform:bits=4,group=row,scales=shared", "terngrad:scales=shared,sums=exact"])
  func trainingLearns(_ strategy: String, _ codec: String) throws {
    let outcome = try train(shared { ($0.strategy, $0.codec, $0.steps, $0.learningRate) = (strategy, codec, 200, 0.05) })
    let evaluation = try #require(outcome.evaluation)
    #expect(evaluation.accuracy > 0.35, "\(strategy), \(codec): \(evaluation)")
  }

  /// The key is named, as the same codec goes with all of it without.
  @Test(.oneProcess) func whatItDoesNotGoWithIsRefusedByName() throws {
    let changes: [(String, (inout TrainerOptions) -> Void)] = [
      ("--warm-start", { $0.warmStart = 3 }), ("--topology hierarchical", { $0.topology = .hierarchical }),
      ("--overlap thread", { ($0.strategy, $0.overlap) = ("all-reduce", .thread) }),
      ("--tune-rate", { $0.tuneRate = "search" }),
    ]
    for (name, change) in changes {
      #expect {
        try Recipe(shared(change))
      } throws: {
        "\($0)".contains("\(name) does not go with --codec uniform:scales=shared")
      }
      if name != "--tune-rate" {
        _ = try Recipe(
          shared {
            change(&$0)
            $0.codec = "uniform"
          })
      }
    }
    _ = try Recipe(shared { $0.clip = 0.5 })
  }
}
