import Buffers
import Checkpoints
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Ranks that are no longer equal, or never were, end their run and say what differs.
@Suite(.serialized, .ranks(atLeast: 2), .enabled(if: World.count <= 4, "a few ranks are enough")) struct ReplicaRunTests {
  private func diverged(_ body: () throws -> Void) throws -> (tensors: [String], ranks: [Int], step: Int)? {
    do { try body() } catch ExchangeError.diverged(let tensors, let ranks, let step) { return (tensors, ranks, step) }
    return nil
  }

  @Test(arguments: ["all-reduce", "double-buffer", "true-top-k:k=1/20"]) func aModelThatDiffersIsNoticed(_ strategy: String)
    throws
  {
    let trainer = try TrainingRun(
      options { ($0.strategy, $0.verifyEvery, $0.learningRate) = (strategy, 3, 1e-6) }, on: world, isSilent: true)
    let odd = world.count - 1
    if world.rank == odd { trainer.parameters[3] += 0.5 }
    let found = try #require(try diverged { _ = try trainer.run() })
    #expect(found.tensors == ["layers.3.weight"] && found.ranks == [odd] && found.step == 3)
    try world.barrier()
  }

  /// Where it is looked at the end alone, it is noticed there.
  @Test func theLastLookIsNeverLeftOut() throws {
    let trainer = try TrainingRun(options { ($0.verifyEvery, $0.steps) = (0, 4) }, on: world, isSilent: true)
    if world.rank == world.count - 1 { trainer.parameters[trainer.parameters.count - 1] += 0.5 }
    #expect(try #require(try diverged { _ = try trainer.run() }).step == 4)
    try world.barrier()
  }

  /// After a replicated start the optimizer's state is compared, too: nothing has been exchanged yet.
  @Test(arguments: [("sgd", "momentum"), ("adam", "momentum"), ("adamw", "squares")])
  func momentaThatDifferAreNoticedWhereAReplicatedStartEnds(_ optimizer: String, _ name: String) throws {
    let trainer = try TrainingRun(
      options {
        ($0.warmStart, $0.verifyEvery, $0.steps, $0.logEvery) = (.replicated(4), 0, 20, 100)
        ($0.optimizer, $0.learningRate) = (optimizer, 1e-30)
      }, on: world, isSilent: true)
    var state = StateInventory()
    trainer.strategy.contribute(to: &state)
    let values = try #require(state.tensor(name)).values
    let odd = world.count - 1
    if world.rank == odd { values[1] = 1 }
    let found = try #require(try diverged { _ = try trainer.run() })
    #expect(found.tensors == ["layers.3.weight"] && found.ranks == [odd] && found.step == 4)
    try world.barrier()
  }

  /// Every rank must have the same options, save where it writes; the one that differs from most is named on all.
  @Test func optionsThatDifferAreNamedBeforeTheRun() throws {
    let odd = world.count - 1
    for (name, change) in [
      ("learning-rate", { $0.learningRate = 0.3 }), ("seed", { $0.seed = 7 }), ("model", { $0.model = "softmax" }),
    ] as [(String, (inout TrainerOptions) -> Void)] {
      #expect {
        _ = try train(options { if world.rank == odd { change(&$0) } })
      } throws: {
        "\($0)".hasPrefix("rank \(odd) on ") && "\($0)".contains("has other options (--\(name))")
          && ($0 as? TrainingError)?.exitStatus == 65
      }
      try world.barrier()
    }
  }
}
