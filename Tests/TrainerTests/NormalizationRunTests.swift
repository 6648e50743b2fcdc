import Buffers
import Checkpoints
import Collectives
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Whole runs of small networks with batch normalization, dropout and DropConnect, on as many ranks as the tests have.
@Suite(.serialized, .enabled(if: World.count <= 4, "a few ranks are enough")) struct NormalizationRunTests {
  private func small(_ model: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.model, $0.steps, $0.learningRate, $0.codec) = (model, 12, 0.05, "none")
      change(&$0)
    }
  }

  private func statistics(_ trainer: TrainingRun) throws -> RunningStatistics { try #require(trainer.network.statistics) }

  /// What several ranks train is what one does with whole minibatches, but for the order of sums, statistics included.
  @Test(
    .ranks(atLeast: 2),
    arguments: [
      ("cnn:3,4,norm=sync,dropout=0.2", false), ("mlp:20,norm=sync,dropout=0.3", false), ("mlp:20,norm=sync,dropout=0.3", true),
      ("mlp:24,16,dropout=0.2,dropconnect=0.5", false), ("highway:2x16", false),
    ]) func ranksTrainAsOneDoes(_ model: String, hasUnequalShares: Bool) throws
  {
    func trained(on group: Communicator) throws -> (outcome: TrainingOutcome, parameters: FloatBuffer, statistics: [Float]) {
      let options = small(model) {
        $0.overlap = .inline
        // The last rank takes as many samples as the others together.
        let weights = Array(repeating: 1, count: group.count - 1) + [group.count - 1]
        if hasUnequalShares && group.count > 1 { $0.shares = .listed([.init(step: 0, weights: weights)]) }
      }
      let trainer = try TrainingRun(options, on: group, isSilent: true)
      let outcome = try trainer.run()
      return (outcome, trainer.parameters, trainer.network.statistics.map { Array($0.values.values) } ?? [])
    }
    let found = try trained(on: world)
    #expect(Set(try world.allGather([found.outcome.modelHash])).count == 1)
    guard let alone = try world.split(color: world.rank == 0 ? 0 : nil) else { return try world.barrier() }
    let expected = try trained(on: alone)
    let farthest = (0..<found.parameters.count).map { abs(found.parameters[$0] - expected.parameters[$0]) }.max()!
    #expect(farthest < 1e-4, "\(farthest)")
    for (value, other) in zip(found.statistics, expected.statistics) { #expect(abs(value - other) < 1e-4) }
    let (loss, other) = (try #require(found.outcome.evaluation).loss, try #require(expected.outcome.evaluation).loss)
    #expect(abs(loss / other - 1) < 1e-5, "\(loss) and \(other)")
    try world.barrier()
  }

  /// A resumed run is an unbroken one to the bit, in parameters, masks and statistics.
  @Test(arguments: [
    ("cnn:3,4,norm=batch,dropout=0.2", "all-reduce", "one-bit"), ("cnn:3,4,norm=batch,dropout=0.2", "double-buffer", "one-bit"),
    ("cnn:3,norm=sync", "all-reduce", "one-bit"), ("mlp:20,norm=batch,dropconnect=0.3", "double-buffer", "none"),
  ]) func aResumedRunEqualsAnUnbrokenOne(_ model: String, _ strategy: String, _ codec: String) throws {
    let options = small(model) { ($0.strategy, $0.codec, $0.warmStart) = (strategy, codec, 2) }
    let expected = try train(options)
    let resumed = try trainBrokenOff(after: 6, options)
    #expect(resumed.modelHash == expected.modelHash && resumed.evaluation == expected.evaluation)
    #expect(Set(try world.allGather([expected.modelHash])).count == 1)
  }

  /// Another number of ranks starts from the statistics that evaluation read, and a saved model is judged as at the end of its run.
  @Test(arguments: ["cnn:3,norm=batch", "cnn:3,norm=sync"]) func anotherNumberOfRanksGoesOn(_ model: String) throws {
    let directory = try TemporaryDirectory(on: world)
    var options = small(model) { $0.checkpoint = directory.path + "/checkpoints" }
    // The run holds the directory as long as it lives.
    func first() throws -> (outcome: TrainingOutcome, combined: UInt64) {
      let run = try TrainingRun(options, on: world, isSilent: true)
      return (try run.run(), try statistics(run).combined.hash())
    }
    let (outcome, combined) = try first()
    #expect(try SavedModel(options.checkpoint!, on: world).evaluate() == outcome.evaluation)
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      (options.resume, options.steps) = (true, 16)
      let run = try TrainingRun(options, on: alone, isSilent: true)
      #expect(try statistics(run).values.hash() == combined || world.count == 1)
      #expect(try statistics(run).combined.hash() == combined)
      #expect(try run.run().steps == 16)
    }
    try world.barrier()
  }

  /// The weight of a rank's statistics after these numbers of samples.
  private func weight(after counts: [Int]) -> Float { counts.reduce(0) { (1 - 0.1) * $0 + 0.1 * Float($1) } }

  /// Each step that is done counts once: not what is skipped, tried or measured.
  @Test(arguments: ["plain", "skipped", "replicated", "trials", "measured", "double-buffer"])
  func eachStepLeavesOneTrace(_ kind: String) throws {
    let options = small("mlp:12,norm=batch") {
      switch kind {
      case "skipped": ($0.injectNonFinite, $0.nonFinite) = ("4-6:\(world.count - 1)", .skip)
      case "replicated": ($0.codec, $0.warmStart) = ("one-bit", .replicated(5))
      case "trials": $0.tuneMinibatch = "search:max=300,margin=-100"
      case "measured": $0.codec = "auto"
      case "double-buffer": $0.strategy = kind
      default: break
      }
    }
    let trainer = try TrainingRun(options, on: world, isSilent: true) { parts, _ in
      let gradient = FloatBuffer(count: parts.network.layout.count)
      let batch = Minibatch(capacity: 4, featureCount: parts.network.inputCount)
      batch.count = 4
      _ = try parts.network.gradient(of: batch, parameters: parts.parameters, scale: 1, into: gradient) { _ in }
      parts.network.accept()
      return ("one-bit", "it is there")
    }
    #expect(try statistics(trainer).weight[0] == 0)
    // A search may change the minibatch, and with it the number of steps.
    let steps = try trainer.run().steps
    #expect(steps == 12 || kind == "trials")
    let plan = trainer.loader.plan
    var counts: [Int] = []
    for step in 0..<steps where !(kind == "skipped" && (4...6).contains(step)) {
      let parts = kind == "double-buffer" ? 2 : 1
      for part in 0..<parts {
        let own = plan.places(of: step, part: part, of: parts, rank: world.rank, ranks: world.count)
        counts.append((kind == "replicated" && step < 5 ? plan.places(of: step) : own).count)
      }
    }
    #expect(abs(try statistics(trainer).weight[0] - weight(after: counts)) < 1e-4, "\(kind)")
    try world.barrier()
  }

  /// Synchronized statistics that differ are noticed like parameters.
  @Test(.ranks(atLeast: 2)) func statisticsThatDifferAreNoticed() throws {
    let trainer = try TrainingRun(small("mlp:12,norm=sync"), on: world, isSilent: true)
    if world.rank == world.count - 1 { try statistics(trainer).values[2] = 9 }
    do {
      _ = try trainer.run()
      Issue.record("nothing was noticed")
    } catch ExchangeError.diverged(let tensors, let ranks, _) {
      #expect(tensors == ["layers.2.running_mean"] && ranks == [world.count - 1])
    }
    try world.barrier()
  }

  /// Ranks without samples take part: the run ends as that of one rank.
  @Test(.ranks(atLeast: 2)) func ranksWithoutSamplesTakePart() throws {
    // The last step of an epoch has one sample.
    let options = small("cnn:3,norm=sync") { ($0.data, $0.minibatch, $0.steps) = ("glyphs:train=17,test=10", 8, 6) }
    let found = try trainedModel(options).values
    guard let alone = try world.split(color: world.rank == 0 ? 0 : nil) else { return try world.barrier() }
    let expected = try trainedModel(options, on: alone).values
    #expect((0..<found.count).allSatisfy { abs(found[$0] - expected[$0]) < 1e-4 })
    try world.barrier()
  }

  @Test func whatCannotBeIsRefused() throws {
    for (options, part) in [
      (small("mlp:9,norm=sync") { $0.strategy = "double-buffer" }, "norm=sync does not go with --strategy double-buffer"),
      (small("mlp:9,norm=batch") { $0.minibatch = world.count }, "a rank has one sample"),
      (small("mlp:9,norm=batch") { ($0.minibatch, $0.strategy) = (2 * world.count, "double-buffer") }, "a rank has one sample"),
    ] {
      #expect {
        try train(options)
      } throws: {
        "\($0)".contains(part) && exitStatus(of: $0) == 64
      }
    }
    guard world.count % 2 == 0 else { return try world.barrier() }
    #expect {
      try train(small("mlp:9,dropout=0.1") { $0.modelParallel = 2 })
    } throws: {
      "\($0)".contains("'mlp:9,dropout=0.1' cannot be split") && exitStatus(of: $0) == 64
    }
    try world.barrier()
  }
}
