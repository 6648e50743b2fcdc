import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// What holds for every optimizer that freezes its variance and lets momentum cross.
@Suite(.serialized) struct FrozenVarianceTests {
  /// A specification, and the steps after which a run is broken off: in each phase, and at the ends of phases.
  struct Choice: CustomTestStringConvertible {
    let specification: String
    let breaks: [Int]
    var testDescription: String { specification }

    func training(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
      options {
        ($0.optimizer, $0.learningRate, $0.warmStart) = (specification, 0.005, nil)
        change(&$0)
      }
    }
  }

  static let choices = [
    Choice(specification: "one-bit-adam:freeze=7", breaks: [3, 6, 7, 8, 15]),
    Choice(specification: "one-bit-lamb:freeze=7", breaks: [3, 6, 7, 8, 15]),
    Choice(specification: "zero-one-adam:freeze=12,scale=2", breaks: [1, 2, 5, 8, 11, 12, 13, 17]),
  ]

  /// Model, all moments and both residuals.
  @Test(.ranks(atMost: 4), arguments: choices, ["one-bit", "rotated", "none"])
  func anUnbrokenRunEqualsOneThatWasResumed(_ choice: Choice, codec: String) throws {
    let options = choice.training { ($0.codec, $0.weightDecay) = (codec, 0.01) }
    let whole = try train(options)
    for steps in choice.breaks {
      #expect(try trainBrokenOff(after: steps, options).modelHash == whole.modelHash, "after \(steps) steps")
    }
  }

  @Test(.ranks(atMost: 2), arguments: choices) func neitherTimingNorTransportChangesABit(_ choice: Choice) throws {
    var hashes: Set<UInt64> = []
    for overlap in [Overlap.off, .inline, .thread] {
      for transport in [Transport.auto, .messages] {
        hashes.insert(try train(choice.training { ($0.overlap, $0.transport) = (overlap, transport) }).modelHash)
      }
    }
    #expect(hashes.count == 1)
    #expect(Set(try world.allGather(Array(hashes))).count == 1)
  }

  @Test(.oneProcess, arguments: choices) func whatItDoesNotGoWithIsRefusedByName(_ choice: Choice) throws {
    let changes: [(String, (inout TrainerOptions) -> Void)] = [
      ("--clip", { $0.clip = 0.5 }), ("--strategy", { $0.strategy = "double-buffer" }),
      ("--strategy", { $0.strategy = "local:steps=3" }), ("--tune-rate", { $0.tuneRate = "search:every=2" }),
      ("--tune-minibatch", { $0.tuneMinibatch = "search:margin=20" }), ("--warm-start", { $0.warmStart = 1 }),
      ("--warm-start", { $0.warmStart = .replicated(10) }), ("--warm-start", { $0.warmStart = .automatic }),
      ("--codec", { $0.codec = "low-rank" }), ("--codec", { $0.codec = "majority-vote" }),
      ("--model-parallel", { $0.modelParallel = 2 }),
    ]
    for (name, change) in changes {
      #expect {
        try Recipe(choice.training(change))
      } throws: {
        "\($0)".contains(name) && "\($0)".contains(choice.specification.prefix { $0 != ":" })
      }
    }
  }
}
