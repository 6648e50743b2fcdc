import Buffers
import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Descent by few values: against plain lines, and the same on all ranks, in every repetition and after every resume.
@Suite(.serialized) struct SparseDescentTests {
  static let all = [
    "fetch-sgd:k=1/20,columns=1/8,shards=3", "fetch-sgd:k=1/20,columns=1/6,shards=3,recovery=zero",
    "fetch-sgd:k=1/50,columns=1/6,shards=3,recovery=subtract,window=2",
    "sketched-sgd:k=1/20,columns=1/8,shards=3,hashes=mersenne61", "true-top-k:k=1/20,shards=3", "local-top-k:k=1/20,shards=3",
  ]

  private static func sparse(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.strategy = strategy
      $0.learningRate = 0.02
      change(&$0)
    }
  }

  @Test(arguments: [("true-top-k:k=300,shards=4", 300, true), ("true-top-k:k=1/4,mask=false", 4853, false)])
  func trueTopKIsThePlainLoop(_ strategy: String, _ k: Int, _ masks: Bool) throws {
    let options = Self.sparse(strategy)
    let expected = try PlainSparseDescent.train(options, k: k, masks: masks).testLoss()
    let found = try train(options).evaluation!.loss
    #expect(abs(found - expected) < 1e-3, "\(found) for \(expected)")
  }

  /// λw is part of the gradient once, whatever the number of ranks: value by value, where all values are sent.
  @Test(
    arguments: pairs(
      ["fetch-sgd:k=1/1", "sketched-sgd:k=1/1,candidates=1", "true-top-k:k=1/1", "local-top-k:k=1/1"], [0, 0.5]
    ).dealt())
  func weightDecayIsAddedOnce(_ strategy: String, momentum: Double) throws {
    let options = Self.sparse(strategy) { ($0.weightDecay, $0.steps, $0.momentum) = (0.5, 10, momentum) }
    let run = try PlainSparseDescent.train(options, k: .max, masks: false)
    let expected = run.weights
    let found = try trainedModel(options).values
    let far = farthest(found, expected)
    #expect(far.distance < 2e-5, "value \(far.place)")
    // The decay moves the model by much more than that.
    var without = options
    without.weightDecay = 0
    let plain = try PlainSparseDescent.train(without, k: .max, masks: false).weights
    #expect((0..<found.count).contains { abs(plain[$0] - expected[$0]) > 5e-3 })
  }

  /// One rank's largest values are those of all ranks.
  @Test(.enabled(if: World.count == 1, "one rank is enough")) func oneRankIsAllRanks() throws {
    let hash = try train(Self.sparse("true-top-k:k=1/20")).modelHash
    #expect(try train(Self.sparse("local-top-k:k=1/20")).modelHash == hash)
  }

  /// Where everything is recovered exactly, this is plain descent, bit for bit at a rate that rounds nothing.
  @Test(arguments: ["fetch-sgd:k=1/1", "sketched-sgd:k=1/1,candidates=1", "true-top-k:k=1/1", "local-top-k:k=1/1"].dealt())
  func allValuesArePlainDescent(_ strategy: String) throws {
    func plain(_ options: inout TrainerOptions) {
      (options.momentum, options.schedule, options.learningRate) = (0, "constant", 0x1p-6)
    }
    let sparse = try train(Self.sparse(strategy, plain))
    let dense = try train(
      Self.sparse("all-reduce") {
        plain(&$0)
        $0.codec = "none"
      })
    #expect(sparse.modelHash == dense.modelHash)
  }

  /// Ranks see parts of the same sums, so that only rounding differs from one rank.
  @Test(arguments: ["fetch-sgd:k=1/10,columns=1/4,shards=3", "true-top-k:k=1/10"])
  func ranksDoNotMatter(_ strategy: String) throws {
    let options = Self.sparse(strategy) { $0.weightDecay = 0.01 }
    let together = try train(options)
    let alone = try TrainingRun(options, on: world.split(color: world.rank)!, isSilent: true).run()
    #expect(abs(together.evaluation!.loss - alone.evaluation!.loss) < 0.02)
  }

  @Test(arguments: all.dealt()) func runsRepeat(_ strategy: String) throws {
    let hash = try train(Self.sparse(strategy)).modelHash
    #expect(try train(Self.sparse(strategy)).modelHash == hash)
    #expect(try train(Self.sparse(strategy) { $0.transport = .messages }).modelHash == hash)
    #expect(try train(Self.sparse(strategy) { $0.seed = 2 }).modelHash != hash)
    guard strategy.contains("recovery") else { return }
    let clipped = try train(Self.sparse(strategy) { $0.clip = 0.1 }).modelHash
    #expect(clipped != hash)
    #expect(try train(Self.sparse(strategy) { $0.clip = 0.1 }).modelHash == clipped)
  }

  @Test(arguments: all.dealt()) func aResumedRunIsTheUnbrokenOne(_ strategy: String) throws {
    let options = Self.sparse(strategy)
    #expect(try trainBrokenOff(after: 8, options).modelHash == train(options).modelHash)
  }

  /// What ranks and owners remember goes on with fewer ranks and with more: only sums are rounded in another way.
  @Test(.ranks(atLeast: 2), arguments: [all[0], all[2], all[4]]) func aRunGoesOnWithAnotherNumberOfRanks(_ strategy: String)
    throws
  {
    let options = Self.sparse(strategy) { ($0.learningRate, $0.schedule) = (0.1, "constant") }
    let unbroken = try train(options).evaluation!.loss
    for (savers, loaders) in [(world.count, world.count - 1), (1, world.count)] {
      let directory = try TemporaryDirectory(on: world)
      func run(_ count: Int, _ change: (inout TrainerOptions) -> Void) throws -> TrainingOutcome? {
        var options = options
        options.checkpoint = directory.path + "/checkpoints"
        change(&options)
        guard let group = try world.split(color: world.rank < count ? 0 : nil) else {
          try world.barrier()
          return nil
        }
        defer { try? world.barrier() }
        return try TrainingRun(options, on: group, isSilent: true).run()
      }
      _ = try run(savers) { $0.steps = 8 }
      let resumed = try run(loaders) { $0.resume = true }
      if let loss = resumed?.evaluation?.loss {
        #expect(abs(loss - unbroken) < 1e-4, "\(savers) and \(loaders) ranks: \(loss) for \(unbroken)")
      }
      try world.barrier()
    }
  }

  /// Half of the rounds and more change nothing in a model that has learnt: it learns.
  @Test(arguments: all.filter { !$0.contains("subtract") }.dealt()) func theLossFalls(_ strategy: String) throws {
    let loss = try train(Self.sparse(strategy) { ($0.steps, $0.verifyEvery, $0.learningRate) = (60, 20, 0.05) }).evaluation!
      .loss
    #expect(loss < 2.26, "\(loss)")
  }

  @Test func aStepThatIsNotFiniteLeavesNoTrace() throws {
    let options = Self.sparse(Self.all[0]) { $0.injectNonFinite = "5:\(world.count - 1)" }
    let outcome = try train(options)
    #expect(outcome.evaluation!.loss.isFinite)
    #expect(try train(options).modelHash == outcome.modelHash)
  }

  @Test(
    .enabled(if: World.count == 1, "one rank is enough"),
    arguments: [
      ("fetch-sgd:rows=4", "odd"), ("fetch-sgd:k=1000000000", "more than"), ("fetch-sgd:columns=1000000000", "larger"),
      ("fetch-sgd:hashes=md5", "mersenne61, block"), ("true-top-k:k=2/1", "share"),
    ])
  func sizesThatCannotBeAreRefused(_ strategy: String, _ word: String) {
    #expect { try train(Self.sparse(strategy)) } throws: { "\($0)".contains(word) && "\($0)".contains("--strategy") }
  }

  @Test(.enabled(if: World.count == 1, "one rank is enough")) func whatDoesNotGoWithItIsRefused() {
    for change in [
      { $0.codec = "none" }, { $0.clip = 1 }, { $0.warmStart = 3 }, { $0.optimizer = "sgd:nesterov=true" },
      { $0.tuneRate = "after-epoch" },
    ] as [(inout TrainerOptions) -> Void] {
      #expect {
        try train(
          Self.sparse("fetch-sgd") {
            $0.warmStart = nil; change(&$0)
          })
      } throws: {
        "\($0)".contains("does not go with --strategy fetch-sgd")
      }
    }
  }
}
