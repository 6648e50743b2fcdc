import Buffers
import Checkpoints
import Foundation
import MPI
import PointToPoint
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs whose workers have models of their own and average them in pairs.
@Suite(.serialized, .ranks(atMost: 4)) struct PairDescentTests {
  private func settings(_ keys: String = "", _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.minibatch, $0.verifyEvery) = ("ad-psgd" + (keys.isEmpty ? "" : ":\(keys)"), 48, 0)
      ($0.momentum, $0.learningRate, $0.steps) = (0.5, 0.1, 9)
      change(&$0)
    }
  }

  private func hash(_ options: TrainerOptions, on ranks: Communicator = world) throws -> UInt64 {
    try TrainingRun(options, on: ranks, isSilent: true).run().modelHash
  }

  /// What a run has sent is what the formats say: averages, claims of minibatches, and at meetings the mean of the models.
  @Test(arguments: ["graph=ring", "graph=complete", "graph=complete,minibatches=own"], [nil, EmulatedSpeed.exponential])
  func bytesAreAsPredicted(_ keys: String, _ speed: EmulatedSpeed?) throws {
    let run = settings(keys + (speed == nil ? "" : ",workers=12")) {
      ($0.evaluateEvery, $0.steps) = (3, 8)
      $0.emulateSpeed = speed
    }
    let trainer = try TrainingRun(run, on: world, isSilent: true)
    _ = try trainer.run()
    let report = trainer.strategy.report
    let (counted, predicted) = (report.traffic, report.predictedInAll)
    #expect(counted == predicted, "\(keys) \(speed)")
    // Models cross at each of the three meetings.
    #expect(world.count == 1 ? predicted.bytesSent == 0 : predicted.bytesSent > 3 * 4 * trainer.parameters.count)
  }

  /// One worker is plain descent.
  @Test(
    .enabled(if: World.count == 1, "one rank is one worker"),
    arguments: ["ring", "complete", "exponential"], ["sgd", "adam", "sgd:nesterov=true"])
  func oneWorkerIsPlainDescent(_ graph: String, _ optimizer: String) throws {
    let run = settings("graph=\(graph)") {
      ($0.optimizer, $0.weightDecay, $0.evaluateEvery) = (optimizer, 1e-3, 4)
      if optimizer == "adam" { $0.momentum = TrainerOptions().momentum }
    }
    var plain = run
    (plain.strategy, plain.codec) = ("all-reduce", "none")
    #expect(try hash(run) == hash(plain))
  }

  /// Emulated orders give the same bits on any number of ranks; who averages with whom matters, and when.
  @Test func emulatedOrdersGiveTheSameBitsOnAnyRanks() throws {
    let alone = try world.split(color: world.rank)!
    var hashes: Set<UInt64> = []
    let cases: [(String, EmulatedSpeed, String)] = [
      ("graph=ring", .exponential, "sgd"), ("graph=complete", .exponential, "sgd"),
      ("graph=ring", .slow(factor: 3), "sgd"), ("graph=ring,minibatches=own", .slow(factor: 3), "sgd"),
      ("graph=ring", .exponential, "adam"),
    ]
    for (keys, speed, optimizer) in cases {
      let run = settings("\(keys),workers=12") {
        ($0.emulateSpeed, $0.evaluateEvery, $0.optimizer) = (speed, 3, optimizer)
        if optimizer == "adam" { ($0.momentum, $0.learningRate) = (TrainerOptions().momentum, 0.01) }
      }
      let found = try hash(run)
      #expect(try hash(run, on: alone) == found, "\(keys) \(speed) \(optimizer)")
      hashes.insert(found)
    }
    #expect(hashes.count == cases.count)
    try world.barrier()
  }

  /// What a checkpoint holds is all that the next step depends on, also on another number of ranks; its model is the mean of the models.
  @Test(arguments: ["sgd", "adam"]) func resumesBitForBit(_ optimizer: String) throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("graph=complete,workers=12") {
      ($0.emulateSpeed, $0.evaluateEvery, $0.optimizer) = (.exponential, 3, optimizer)
      if optimizer == "adam" { ($0.momentum, $0.learningRate) = (TrainerOptions().momentum, 0.01) }
    }
    let whole = try hash(run)
    (run.checkpoint, run.checkpointEvery) = (directory.path + "/checkpoints", 3)
    #expect(try train(run, until: 6).wasStopped)
    try expectTheMean(in: directory.path + "/checkpoints/step-00000006", ranks: world.count)
    run.resume = true
    if world.count > 1 {
      if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
        #expect(try hash(run, on: alone) == whole, "on one rank")
      }
    } else {
      #expect(try hash(run) == whole)
    }
    try world.barrier()
  }

  /// Compares the model of a checkpoint with the mean of its workers' models.
  private func expectTheMean(in path: String, ranks: Int) throws {
    func values(_ file: String, _ names: (String) -> Bool) throws -> [Float] {
      let reader = try SafetensorsReader("\(path)/\(file)")
      var values: [Float] = []
      for entry in reader.entries where names(entry.name) {
        let buffer = FloatBuffer(count: entry.count)
        try reader.read(entry, from: 0, into: buffer.values)
        values += (0..<entry.count).map { buffer[$0] }
      }
      return values
    }
    let mean = try values("model.safetensors") { _ in true }
    var sums = Array(repeating: 0.0, count: mean.count)
    var workers = 0
    for rank in 0..<ranks {
      let models = try values(String(format: "state-%05d.safetensors", rank)) { $0 == "worker.models" }
      for (place, value) in models.enumerated() { sums[place % mean.count] += Double(value) }
      workers += models.count / mean.count
    }
    #expect(workers == 12)
    for (place, value) in mean.enumerated() where abs(sums[place] / 12 - Double(value)) > 1e-6 {
      Issue.record("value \(place): \(value), and the mean is \(sums[place] / 12)")
    }
    try world.barrier()
  }

  /// As many workers as ranks, and another number of ranks: all begin at the model of the checkpoint, and not anew.
  @Test(.ranks(atLeast: 2)) func otherWorkersBeginAtTheMean() throws {
    let directory = try TemporaryDirectory(on: world)
    // In an emulated order, so that the losses do not depend on who was faster.
    var run = settings {
      ($0.momentum, $0.learningRate, $0.steps, $0.schedule, $0.emulateSpeed) = (0, 0.3, 42, "constant", .roundRobin)
      ($0.checkpoint, $0.checkpointEvery) = (directory.path + "/checkpoints", 40)
    }
    #expect(try train(run, until: 40).wasStopped)
    run.resume = true
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      let resumed = try TrainingRun(run, on: alone, isSilent: true).run()
      (run.resume, run.checkpoint, run.checkpointEvery, run.steps) = (false, nil, nil, 2)
      let fresh = try TrainingRun(run, on: alone, isSilent: true).run()
      #expect(resumed.evaluation!.loss < 0.9 * fresh.evaluation!.loss)
    }
    try world.barrier()
  }

  /// A live run trains, and its models stay together.
  @Test func liveRunsLearn() throws {
    for keys in ["", "graph=complete,minibatches=own"] {
      let run = settings(keys) { ($0.momentum, $0.learningRate, $0.steps, $0.logEvery) = (0, 0.3, 60, 10) }
      let (outcome, lines) = try metrics(run)
      let start = try TrainingRun(settings { ($0.steps, $0.learningRate) = (1, 1e-6) }, on: world, isSilent: true).run()
      #expect(outcome.evaluation!.loss < 0.9 * start.evaluation!.loss, "\(keys)")
      #expect(try world.allGather([outcome.modelHash]).allSatisfy { $0 == outcome.modelHash })
      let end = try #require(lines.last)
      let distance = try #require(end["consensusDistance"] as? Double)
      #expect(world.count == 1 ? distance == 0 : distance > 0 && distance < 10, "\(keys): \(distance)")
      let gradients = try #require(end["gradients"] as? [Int])
      #expect(gradients.count == world.count && gradients.reduce(0, +) == 60 * world.count)
      #expect(keys.isEmpty || gradients.allSatisfy { $0 == 60 })
      // Rank 0 knows nothing of it between meetings.
      let steps = lines.filter { $0["event"] as? String == "step" && $0["rank"] == nil }
      #expect(!steps.isEmpty && steps.allSatisfy { $0["consensusDistance"] is Double })
    }
  }

  /// A live run that was recorded, replayed twice, from a checkpoint in its middle, and by one rank that is all workers: one model.
  @Test func recordedRunsAreReplayed() throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("graph=complete,workers=\(world.count)") {
      ($0.evaluateEvery, $0.checkpointEvery) = (3, 3)
      ($0.checkpoint, $0.record) = (directory.path + "/live", directory.path + "/events")
    }
    let live = try hash(run)
    (run.record, run.replay) = (nil, directory.path + "/events")
    (run.checkpoint, run.checkpointEvery) = (nil, nil)
    for _ in 0..<2 { #expect(try hash(run) == live) }
    #expect(try hash(run, on: world.split(color: world.rank)!) == live)
    (run.checkpoint, run.checkpointEvery) = (directory.path + "/replayed", 3)
    #expect(try train(run, until: 6).wasStopped)
    run.resume = true
    #expect(try hash(run) == live)
    // Other meetings have other events, and so have other pairs.
    (run.resume, run.checkpoint, run.checkpointEvery) = (false, nil, nil)
    func refusal(_ change: (inout TrainerOptions) -> Void) -> String {
      var other = run
      change(&other)
      let error = #expect(throws: (any Error).self) { try hash(other) }
      return error.map { "\($0)" } ?? ""
    }
    #expect(refusal { $0.evaluateEvery = 2 }.contains("holds no events of minibatches"))
    #expect(refusal { $0.strategy = "asgd" }.contains("comes from 0 ranks"))
    if world.count > 2 { #expect(refusal { $0.seed = 5 }.contains("were not done by \(world.count) workers")) }
    try world.barrier()
  }

  /// A gradient that is not finite changes nothing, and is told.
  @Test func gradientsThatAreNotFiniteAreRefused() throws {
    // In an emulated order, in which rank 0 has a minibatch of the step: live, others may have done all.
    let run = settings { ($0.injectNonFinite, $0.steps, $0.emulateSpeed) = ("1:0", 4, .roundRobin) }
    let outcome = try TrainingRun(run, on: world, isSilent: true).run()
    #expect(outcome.evaluation!.loss.isFinite && outcome.steps == 4)
    var ending = run
    ending.nonFinite = .abort
    let error = #expect(throws: (any Error).self) { try TrainingRun(ending, on: world, isSilent: true).run() }
    #expect("\(String(describing: error))".contains("not finite"))
    // All of ten steps.
    var never = settings { ($0.injectNonFinite, $0.steps, $0.evaluateEvery) = ("1-20:0", 20, 2) }
    never.learningRate = 0.01
    if world.count == 1 {
      let error = #expect(throws: (any Error).self) { try hash(never) }
      #expect("\(String(describing: error))".contains("10 steps in a row"), "\(String(describing: error))")
    }
  }

  /// Workers may have samples of their own.
  @Test func workersTakeSamplesOfTheirOwn() throws {
    let alone = try world.split(color: world.rank)!
    var hashes: Set<UInt64> = []
    for partition in ["iid", "by-class:2"] {
      let run = settings("workers=12,minibatches=own") {
        ($0.emulateSpeed, $0.partition, $0.clients) = (.roundRobin, partition, 12)
      }
      let found = try hash(run)
      #expect(try hash(run, on: alone) == found)
      hashes.insert(found)
    }
    hashes.insert(try hash(settings("workers=12,minibatches=own") { $0.emulateSpeed = .roundRobin }))
    #expect(hashes.count == 3)
    try world.barrier()
  }

  /// A model from a file is where all workers begin.
  @Test func beginsWithAModelFile() throws {
    let directory = try TemporaryDirectory(on: world)
    let file = directory.path + "/model.safetensors"
    let first = try hash(settings { ($0.output, $0.steps, $0.seed) = (file, 5, 3) })
    try world.barrier()
    // A rate so small that nothing moves.
    let again = settings { ($0.initialModel, $0.steps, $0.learningRate) = (file, 2, 1e-30) }
    #expect(try hash(again) == first)
    try world.barrier()
  }

  /// What workers that average cannot do is refused by name.
  @Test func whatCannotBeIsRefused() throws {
    let cases: [(String, String, (inout TrainerOptions) -> Void)] = [
      ("", "--codec one-bit:group=64 does not go with --strategy ad-psgd", { $0.codec = "one-bit:group=64" }),
      ("", "--codec fetch-sgd does not go with --strategy ad-psgd", { $0.codec = "fetch-sgd" }),
      ("", "--codec auto does not go with --strategy ad-psgd", { $0.codec = "auto" }),
      ("", "--clip does not go with --strategy ad-psgd", { $0.clip = 1 }),
      ("", "--warm-start 3 does not go with --strategy ad-psgd", { $0.warmStart = 3 }),
      ("", "--tune-rate does not go with --strategy ad-psgd", { $0.tuneRate = "after-epoch" }),
      ("", "--optimizer adagrad does not go with --strategy ad-psgd", { $0.optimizer = "adagrad" }),
      ("", "--sampled does not go with --strategy ad-psgd", { ($0.clients, $0.sampled) = (12, 4) }),
      ("workers=\(3 * world.count)", "needs an order: --emulate-speed rr", { _ in }),
      ("graph=star", "unknown graph 'star'", { _ in }), ("minibatches=all", "unknown minibatches 'all'", { _ in }),
      ("workers=0", "workers is a whole number", { _ in }),
    ]
    for (keys, sentence, change) in cases {
      do {
        _ = try TrainingRun(settings(keys, change), on: world, isSilent: true)
        Issue.record("\(keys): not refused, \(sentence)")
      } catch { #expect("\(error)".contains(sentence), "\(keys): \(error)") }
    }
  }
}
