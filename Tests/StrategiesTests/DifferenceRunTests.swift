import Buffers
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Whole runs by EF21 with momentum.
@Suite(.serialized) struct DifferenceRunTests {
  private func differences(
    _ codec: String = "one-bit:ef21=0.1", _ change: (inout TrainerOptions) -> Void = { _ in }
  ) -> TrainerOptions {
    options {
      ($0.codec, $0.momentum, $0.learningRate, $0.warmStart) = (codec, 0, 0.2, 4)
      change(&$0)
    }
  }

  /// In the warm start, at its end and after it; with exchanges that began early, and with some that are discarded.
  @Test(
    .ranks(atMost: 4), arguments: ["one-bit:ef21=0.1", "chunk-top-k:ef21=0.5", "rotated:ef21=1"],
    ["all-reduce", "double-buffer"])
  func anUnbrokenRunEqualsOneThatWasResumed(_ codec: String, _ strategy: String) throws {
    for overlap in [Overlap.auto, .thread] {
      let options = differences(codec) {
        ($0.strategy, $0.overlap, $0.transport, $0.injectNonFinite) = (strategy, overlap, .messages, "9:0")
      }
      let whole = try train(options)
      for steps in [3, 4, 8, 11] {
        #expect(try trainBrokenOff(after: steps, options).modelHash == whole.modelHash, "after \(steps) steps, \(overlap)")
      }
    }
  }

  @Test(.ranks(atMost: 2)) func neitherTimingNorTransportChangesABit() throws {
    var hashes: Set<UInt64> = []
    for overlap in [Overlap.off, .inline, .thread] {
      for transport in [Transport.auto, .messages] {
        hashes.insert(try train(differences { ($0.overlap, $0.transport) = (overlap, transport) }).modelHash)
      }
    }
    #expect(hashes.count == 1)
  }

  /// The mean of all ranks' gradients, what is delivered of it and what is not go on with another number of ranks.
  @Test(.ranks(atLeast: 2)) func stateGoesOnWithAnotherNumberOfRanks() throws {
    for (savers, loaders) in [(world.count, 1), (1, world.count), (world.count, world.count - 1)] {
      let directory = try TemporaryDirectory(on: world)
      var broken = differences()
      broken.checkpoint = directory.path + "/checkpoints"
      func state(_ trainer: TrainingRun, over group: Communicator) throws -> (
        sum: [Double], delivered: [Float], unsent: [Double]
      ) {
        let state = StateInventory(of: trainer.strategy)
        var sum = try #require(state.tensor("meanGradient")).values.map(Double.init)
        var unsent = try #require(state.tensor("residual")).values.map(Double.init)
        let owned = try #require(state.tensor("ownerResidual"))
        if case .owned(let ranges) = owned.placement {
          for (place, i) in ranges.joined().enumerated() { unsent[i] += Double(owned.values[place]) }
        }
        try group.allReduce(&sum, .sum)
        try group.allReduce(&unsent, .sum)
        return (sum, Array(try #require(state.tensor("deliveredGradient")).values), unsent)
      }
      var saved: [Double] = []
      if let group = try world.split(color: world.rank < savers ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        trainer.lastStep = 8
        _ = try trainer.run()
        saved = try state(trainer, over: group).sum
        #expect(saved.contains { $0 != 0 })
      }
      broken.resume = true
      if let group = try world.split(color: world.rank < loaders ? 0 : nil) {
        let trainer = try TrainingRun(broken, on: group, isSilent: true)
        let found = try state(trainer, over: group)
        if world.rank < savers { #expect(farthest(found.sum, saved).distance < 1e-6, "\(savers) to \(loaders)") }
        // Alone, the next delivery is the mean, whatever had been delivered.
        if loaders > 1 {
          let arrived = zip(found.delivered, found.unsent).map { Double($0) + $1 }
          #expect(farthest(arrived, found.sum).distance < 1e-5, "\(savers) to \(loaders)")
        }
        _ = try trainer.run()
      }
    }
    try world.barrier()
  }

  @Test(.oneProcess) func whatItDoesNotGoWithIsRefusedByName() throws {
    let changes: [(String, (inout TrainerOptions) -> Void)] = [
      ("--strategy", { $0.strategy = "local:steps=3" }), ("--codec", { $0.strategy = "asgd" }),
      ("--optimizer", { $0.optimizer = "adagrad" }), ("--tune-rate", { $0.tuneRate = "search:every=2" }),
      ("--warm-start", { $0.warmStart = .bits([.init(bits: 8, steps: 3)]) }),
    ]
    for (name, change) in changes {
      #expect {
        try Recipe(differences("one-bit:ef21=0.1", change))
      } throws: {
        "\($0)".contains(name)
      }
    }
    _ = try Recipe(differences { ($0.clip, $0.topology) = (1, .hierarchical) })
  }

  @Test(arguments: ["all-reduce", "double-buffer"]) func trainingLearns(_ strategy: String) throws {
    let outcome = try train(differences { ($0.strategy, $0.steps, $0.learningRate) = (strategy, 200, 0.3) })
    let evaluation = try #require(outcome.evaluation)
    #expect(evaluation.accuracy > 0.35, "\(strategy): \(evaluation)")
  }
}
