import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Networks
import Optimizers
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// SIGNUM and Distributed Lion against their formulas, and in whole runs.
@Suite(.serialized) struct VotedMomentumTests {
  private func voting(_ optimizer: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.optimizer, $0.learningRate, $0.warmStart) = (optimizer, 0.003, nil)
      change(&$0)
    }
  }

  /// Three workers in one place: what each contributes to a step, and the sums of the signs.
  @Test(.oneProcess) func theTraceOfTheSpecification() throws {
    let layout = TensorLayout([("weights", [2])])
    let settings = OptimizerSettings(layout: layout, momentum: 0.9, weightDecay: 0)
    let recipe = try optimizers.make("distributed-lion")
    let workers = try (0..<3).map { _ in
      let optimizer = recipe(settings)
      let parts = TransformParts(
        layout: layout, result: .gradient, shareCount: 3, weightDecay: 0, clip: nil, ofOptimizer: recipe.transforms,
        optimizer: optimizer)
      return (optimizer: optimizer, transform: try #require(GradientTransforms.atRank(parts).first))
    }
    let weights = FloatBuffer(count: 2)
    (weights[0], weights[1]) = (1, 1)
    let steps: [(gradients: [[Float]], sums: [Int], weights: [Float])] = [
      ([[1, -1], [2, 1], [-1, -1]], [1, -1], [0.9, 1.1]), ([[-3, 1], [-1, 2], [1, 1]], [-1, 3], [1, 1]),
    ]
    for (step, expected) in steps.enumerated() {
      var sums = [0, 0]
      for (worker, gradient) in zip(workers, expected.gradients) {
        worker.optimizer.begin(step)
        let values = FloatBuffer(count: 2)
        (values[0], values[1]) = (gradient[0], gradient[1])
        worker.transform.transform(0, of: values, at: weights, share: 1)
        worker.transform.commit()
        for i in 0..<2 { sums[i] += values[i] >= 0 ? 1 : -1 }
      }
      #expect(sums == expected.sums, "step \(step)")
      let vote: [Float] = sums.map { $0 > 0 ? 1 : -1 }
      let optimizer = workers[0].optimizer
      optimizer.prepare(samples: 3, share: 1)
      optimizer.update(0..<2, of: weights, with: vote, rate: 0.1)
      optimizer.finish(weights, rate: 0.1)
      for i in 0..<2 { #expect(abs(weights[i] - expected.weights[i]) < 1e-6, "step \(step)") }
    }
  }

  /// A gradient that does not count leaves the momentum as it was.
  @Test(.oneProcess) func momentumWaitsForTheStepToCount() throws {
    let layout = TensorLayout([("weights", [3])])
    let recipe = try optimizers.make("signum:beta=0.5")
    let optimizer = recipe(OptimizerSettings(layout: layout, momentum: 0.9, weightDecay: 0))
    let parts = TransformParts(
      layout: layout, result: .gradient, shareCount: 1, weightDecay: 0, clip: nil, ofOptimizer: recipe.transforms,
      optimizer: optimizer)
    let transform = try #require(GradientTransforms.atRank(parts).first)
    let (weights, values) = (FloatBuffer(count: 3), FloatBuffer(count: 3))
    let momentum = try #require(StateInventory(of: optimizer).tensor("momentum")).values
    func contribute(_ gradient: Float) -> Float {
      for i in 0..<3 { values[i] = gradient }
      transform.transform(0, of: values, at: weights, share: 1)
      return values[1]
    }
    #expect(contribute(8) == 4 && contribute(2) == 1 && momentum[1] == 0)
    transform.commit()
    #expect(momentum[1] == 1 && contribute(0) == 0.5)
    optimizer.forgetMomentum()
    #expect(momentum.allSatisfy { $0 == 0 })
  }

  /// All ranks in plain lines, from the gradients that their samples have, bit for bit.
  @Test(
    .ranks(atMost: 4),
    arguments: [
      ("signum", nil), ("signum:beta=0", nil), ("distributed-lion", nil), ("distributed-lion", "majority-vote:abstain=true"),
      ("distributed-lion:beta1=0.8,beta2=0.5,decay=all", "majority-vote:result=mean"), ("signum", "majority-vote:tie=zero"),
    ] as [(String, String?)])
  func runsFollowTheFormula(_ optimizer: String, _ codec: String?) throws {
    let options = voting(optimizer) {
      ($0.weightDecay, $0.steps, $0.minibatch) = (0.5, 12, 49)
      if let codec { $0.codec = codec }
    }
    let run = try PlainVotes.train(options, optimizer: optimizer, codec: codec ?? "majority-vote")
    let found = try trainedModel(options).values
    let far = farthest(found, run.weights)
    #expect(far.distance == 0, "value \(far.place)")
  }

  /// One rank whose votes may abstain does the steps of Lion.
  @Test func aloneItIsLion() throws {
    let alone = try #require(try world.split(color: .some(world.rank)))
    let runs = [
      voting("distributed-lion") { ($0.codec, $0.weightDecay) = ("majority-vote:abstain=true", 0.1) },
      voting("lion") { ($0.codec, $0.warmStart, $0.weightDecay) = ("none", 0, 0.1) },
    ]
    let hashes = try runs.map { try TrainingRun($0, on: alone, isSilent: true).run().modelHash }
    #expect(hashes[0] == hashes[1])
  }

  @Test(
    .ranks(atMost: 4),
    arguments: ["signum", "distributed-lion"], ["majority-vote", "majority-vote:abstain=true,tie=zero"])
  func anUnbrokenRunEqualsOneThatWasResumed(_ optimizer: String, _ codec: String) throws {
    let options = voting(optimizer) { ($0.codec, $0.weightDecay) = (codec, 0.01) }
    let whole = try train(options)
    for steps in [1, 7, 15] {
      #expect(try trainBrokenOff(after: steps, options).modelHash == whole.modelHash, "after \(steps) steps")
    }
  }

  @Test(.ranks(atMost: 2)) func transportChangesNoBit() throws {
    let hashes = try [Transport.auto, .messages].map { transport in
      try train(voting("distributed-lion") { $0.transport = transport }).modelHash
    }
    #expect(hashes[0] == hashes[1])
  }

  /// On another number of ranks each begins with an equal share of all momentum.
  @Test(.ranks(atLeast: 2)) func momentumGoesOnWithAnotherNumberOfRanks() throws {
    let directory = try TemporaryDirectory(on: world)
    var broken = voting("signum")
    broken.checkpoint = directory.path + "/checkpoints"
    func momentum(_ trainer: TrainingRun) throws -> [Float] {
      Array(try #require(StateInventory(of: trainer.strategy).tensor("momentum")).values)
    }
    var total: [Double] = []
    do {
      let trainer = try TrainingRun(broken, on: world, isSilent: true)
      trainer.lastStep = 6
      _ = try trainer.run()
      total = try momentum(trainer).map(Double.init)
    }
    try world.allReduce(&total, .sum)
    broken.resume = true
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      let resumed = try TrainingRun(broken, on: alone, isSilent: true)
      let far = farthest(try momentum(resumed), total)
      #expect(far.distance < 1e-6, "value \(far.place)")
      _ = try resumed.run()
    }
    try world.barrier()
  }

  /// The vote is the codec of a run that names none, and it begins with the first step.
  @Test func theCodecFollowsTheOptimizer() throws {
    let (_, lines) = try metrics(voting("signum"))
    guard world.rank == 0 else { return }
    let start = try #require(lines.first { $0["event"] as? String == "start" })
    #expect(start["codec"] as? String == "majority-vote" && start["warm-start"] as? Int ?? start["warmStart"] as? Int == 0)
    let end = try #require(lines.last { $0["event"] as? String == "end" })
    let wire = try #require(end["wire"] as? [String: Any])
    #expect(wire["bytesSent"] as? [Int] == wire["predictedBytesSent"] as? [Int])
    if world.count > 1 { #expect(try #require(wire["bitsPerParameter"] as? Double) < 1.1) }
  }

  @Test(.oneProcess) func whatItDoesNotGoWithIsRefusedByName() throws {
    let changes: [(String, (inout TrainerOptions) -> Void)] = [
      ("--codec", { $0.codec = "none" }), ("--codec", { $0.codec = "low-rank" }), ("--codec", { $0.codec = "auto" }),
      ("--codec", { _ = try? $0.give("codec", "one-bit") }), ("--clip", { $0.clip = 0.5 }),
      ("--strategy", { $0.strategy = "double-buffer" }),
      ("--strategy", { $0.strategy = "local:steps=3" }), ("--tune-minibatch", { $0.tuneMinibatch = "search:margin=20" }),
      ("--warm-start", { $0.warmStart = .replicated(10) }), ("--warm-start", { $0.warmStart = 6 }),
      ("--momentum", { $0.momentum = 0.5 }),
    ]
    for optimizer in ["signum", "distributed-lion"] {
      for (name, change) in changes {
        #expect {
          try Recipe(voting(optimizer, change))
        } throws: {
          "\($0)".contains(name)
        }
      }
      _ = try Recipe(voting(optimizer))
      _ = try Recipe(voting(optimizer) { $0.codec = "majority-vote:tie=zero" })
    }
    // Votes, without such an optimizer.
    let plain = options { ($0.codec, $0.warmStart, $0.momentum) = ("majority-vote", nil, 0) }
    _ = try Recipe(plain)
    let others: [(String, (inout TrainerOptions) -> Void)] = [
      ("--strategy", { $0.strategy = "double-buffer" }), ("--strategy", { $0.strategy = "local:steps=3" }),
      ("--strategy", { $0.strategy = "asgd" }), ("--clip", { $0.clip = 1 }), ("--warm-start", { $0.warmStart = 3 }),
      ("--codec", { ($0.optimizer, $0.momentum) = ("one-bit-adam", 0.9) }), ("--optimizer", { $0.optimizer = "adagrad" }),
    ]
    for (name, change) in others {
      var options = plain
      change(&options)
      #expect {
        try Recipe(options)
      } throws: {
        "\($0)".contains(name) && "\($0)".contains("majority-vote")
      }
    }
    for text in ["signum:beta=1", "signum:beta1=0.9", "distributed-lion:beta=0.9", "distributed-lion:beta2=2"] {
      #expect(throws: (any Error).self) { try optimizers.make(text) }
    }
  }

  @Test(arguments: ["signum", "distributed-lion"]) func trainingLearns(_ optimizer: String) throws {
    let evaluation = try #require(
      try train(voting(optimizer) { ($0.steps, $0.learningRate) = (200, 0.001) }).evaluation)
    #expect(evaluation.accuracy > 0.35, "\(evaluation)")
  }
}
