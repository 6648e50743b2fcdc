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
