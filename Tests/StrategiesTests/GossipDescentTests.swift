import Buffers
import Checkpoints
import Collectives
import Foundation
import MPI
import PointToPoint
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs whose workers have models of their own and mix them with those of their neighbours.
@Suite(.serialized, .ranks(atMost: 4)) struct GossipDescentTests {
  private static let methods = [
    "method=d-psgd", "method=d-psgd,graph=torus,order=adapt-first", "method=choco,graph=exponential",
    "method=choco,order=combine-first",
    "method=push-sum", "method=push-sum,targets=random,order=combine-first",
    "method=push-sum,targets=neighbours,graph=complete",
    "method=no-loco,steps=2",
  ]

  private func settings(_ keys: String = "", _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.minibatch, $0.verifyEvery) = ("gossip" + (keys.isEmpty ? "" : ":\(keys)"), 48, 0)
      ($0.momentum, $0.learningRate, $0.steps) = (0.5, 0.1, 7)
      if keys.contains("choco") { $0.codec = "one-bit:group=64" }
      change(&$0)
    }
  }

  /// What a run has sent is what the formats say: messages to neighbours, and the mean of the models at meetings.
  @Test(arguments: methods) func bytesAreAsPredicted(_ method: String) throws {
    let trainer = try TrainingRun(settings(method) { ($0.evaluateEvery, $0.steps) = (3, 8) }, on: world, isSilent: true)
    _ = try trainer.run()
    let report = trainer.strategy.report
    #expect(report.traffic == report.predictedInAll, "\(method)")
    // Models cross at each of the three meetings, besides.
    let alone = report.predictedTraffic.bytesSent * report.steps
    #expect(
      world.count == 1 || method.contains("no-loco") || method.contains("random") || report.traffic.bytesSent > alone)
  }

  private func hash(_ options: TrainerOptions, on ranks: Communicator = world) throws -> UInt64 {
    try TrainingRun(options, on: ranks, isSilent: true).run().modelHash
  }

  /// One worker is plain descent, with any method and optimizer.
  @Test(.enabled(if: World.count == 1, "one rank is one worker"), arguments: ["sgd", "adam"])
  func oneWorkerIsPlainDescent(_ optimizer: String) throws {
    var run = settings {
      ($0.optimizer, $0.weightDecay, $0.evaluateEvery, $0.codec) = (optimizer, 1e-3, 4, "none")
      if optimizer == "adam" { $0.momentum = TrainerOptions().momentum }
    }
    var plain = run
    plain.strategy = "all-reduce"
    let right = try hash(plain)
    for method in Self.methods {
      run.strategy = "gossip:\(method)"
      run.codec = method.contains("choco") ? "one-bit" : "none"
      #expect(try hash(run) == right, "\(method)")
    }
  }

  /// Two workers mix completely in each step on a ring, and K of a complete graph: the mean takes the steps of synchronous descent.
  @Test(.ranks(atLeast: 2)) func completeMixingIsSynchronousDescent() throws {
    let directory = try TemporaryDirectory(on: world)
    func model(_ change: (inout TrainerOptions) -> Void) throws -> [Float] {
      let file = directory.path + "/model.safetensors"
      _ = try hash(
        settings("graph=complete,order=adapt-first") {
          ($0.output, $0.momentum, $0.minibatch) = (file, 0, 49)
          change(&$0)
        })
      defer { try? world.barrier() }
      let reader = try SafetensorsReader(file)
      return try reader.entries.flatMap { entry in
        let buffer = FloatBuffer(count: entry.count)
        try reader.read(entry, from: 0, into: buffer.values)
        return (0..<entry.count).map { buffer[$0] }
      }
    }
    let right = try model { ($0.strategy, $0.codec) = ("all-reduce", "none") }
    var cases = ["gossip:graph=complete,order=adapt-first", "gossip:method=choco,graph=complete"]
    if world.count == 2 { cases += ["gossip:graph=ring,order=adapt-first", "gossip:method=push-sum"] }
    for strategy in cases {
      let found = try model { ($0.strategy, $0.codec) = (strategy, "none") }
      let most = zip(found, right).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
      #expect(most < 2e-5, "\(strategy): \(most)")
    }
  }

  /// By default γ is 1 with floats, 0.1 with codes of some values alone, and 0.6 with others, of fixed length or not.
  @Test(arguments: [
    ("none", 1.0), ("one-bit:group=64", 0.6), ("qsgd", 0.6), ("qsgd:code=elias", 0.6), ("chunk-top-k", 0.1), ("random-k", 0.1),
    ("threshold", 0.1), ("unbiased-k", 0.1), ("projection", 0.1),
  ])
  func gammaFollowsFromTheCode(_ codec: String, _ gamma: Double) throws {
    func found(_ keys: String) throws -> UInt64 { try hash(settings("method=choco,workers=12" + keys) { $0.codec = codec }) }
    let byDefault = try found("")
    for other in [1, 0.6, 0.1] {
      #expect(try (found(",gamma=\(other)") == byDefault) == (other == gamma), "\(other)")
    }
  }

  /// The same bits on any number of ranks, with other samples for each worker or not; methods and orders matter.
  @Test(.ranks(atMost: 3)) func bitsDoNotDependOnRanks() throws {
    let alone = try world.split(color: world.rank)!
    var hashes: Set<UInt64> = []
    for method in Self.methods {
      let run = settings("\(method),workers=12") { ($0.evaluateEvery, $0.minibatch) = (3, 50) }
      let found = try hash(run)
      #expect(try hash(run, on: alone) == found, "\(method)")
      hashes.insert(found)
    }
    for partition in ["iid", "by-class:2"] {
      let run = settings("workers=12") { ($0.partition, $0.clients) = (partition, 12) }
      let found = try hash(run)
      #expect(try hash(run, on: alone) == found, "\(partition)")
      hashes.insert(found)
    }
    #expect(hashes.count == Self.methods.count + 2)
    try world.barrier()
  }

  /// What a checkpoint holds is all that the next step depends on, also on another number of ranks; meetings change nothing.
  @Test(.ranks(atMost: 3)) func resumesBitForBit() throws {
    let directory = try TemporaryDirectory(on: world)
    for (number, method) in Self.methods.enumerated() where number % 2 == 0 || method.contains("no-loco") {
      var run = settings("\(method),workers=12") {
        ($0.steps, $0.optimizer) = (6, number == 2 ? "adam" : "sgd")
        if number == 2 { ($0.momentum, $0.learningRate) = (TrainerOptions().momentum, 0.01) }
      }
      let whole = try hash(run)
      (run.checkpoint, run.checkpointEvery) = (directory.path + "/checkpoints\(number)", 3)
      #expect(try train(run, until: 3).wasStopped)
      run.resume = true
      if world.count > 1 {
        if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
          #expect(try hash(run, on: alone) == whole, "\(method)")
        }
      } else {
        #expect(try hash(run) == whole, "\(method)")
      }
      try world.barrier()
    }
  }

  /// On as many ranks, whose neighbours hold copies of each other.
  @Test(.ranks(atLeast: 2)) func resumesBesideItsNeighbours() throws {
    let directory = try TemporaryDirectory(on: world)
    for method in ["method=choco", "method=push-sum,targets=random", "method=no-loco,steps=2"] {
      var run = settings(method)
      let whole = try hash(run)
      (run.checkpoint, run.checkpointEvery) = (directory.path + "/\(method)", 3)
      #expect(try train(run, until: 3).wasStopped)
      run.resume = true
      #expect(try hash(run) == whole, "\(method)")
    }
  }

  /// As many workers as ranks, and another number of ranks: all begin at the model of the checkpoint, and not anew.
  @Test(.ranks(only: 2)) func otherWorkersBeginAtTheMean() throws {
    let directory = try TemporaryDirectory(on: world)
    for method in ["method=choco", "method=push-sum", "method=no-loco,steps=2"] {
      var run = settings(method) {
        ($0.momentum, $0.learningRate, $0.steps, $0.schedule) = (0, 0.3, 42, "constant")
        ($0.checkpoint, $0.checkpointEvery) = (directory.path + "/\(method)", 40)
      }
      #expect(try train(run, until: 40).wasStopped)
      run.resume = true
      if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
        let resumed = try TrainingRun(run, on: alone, isSilent: true).run()
        (run.resume, run.checkpoint, run.checkpointEvery, run.steps) = (false, nil, nil, 2)
        let fresh = try TrainingRun(run, on: alone, isSilent: true).run()
        #expect(resumed.evaluation!.loss < 0.95 * fresh.evaluation!.loss, "\(method)")
      }
      try world.barrier()
    }
  }

  /// Runs train, their models stay together, and metrics tell how near.
  @Test func runsLearn() throws {
    for method in World.count > 2
      ? ["method=choco"] : ["", "method=choco", "method=push-sum,targets=random", "method=no-loco,steps=5"]
    {
      let run = settings(method) { ($0.momentum, $0.learningRate, $0.steps, $0.logEvery) = (0, 0.3, 60, 10) }
      let (outcome, lines) = try metrics(run)
      let start = try TrainingRun(settings { ($0.steps, $0.learningRate) = (1, 1e-6) }, on: world, isSilent: true).run()
      #expect(outcome.evaluation!.loss < 0.9 * start.evaluation!.loss, "\(method)")
      #expect(try world.allGather([outcome.modelHash]).allSatisfy { $0 == outcome.modelHash })
      let end = try #require(lines.last)
      let distance = try #require(end["consensusDistance"] as? Double)
      #expect(world.count == 1 ? distance == 0 : distance < 10, "\(method): \(distance)")
      let own = end["workerAccuracy"] as? [Double]
      #expect(own?.count ?? 1 == world.count, "\(method)")
    }
  }

  /// A graph from a file is the same graph; one with other weights is another.
  @Test(.ranks(atLeast: 3)) func graphsComeFromFiles() throws {
    let directory = try TemporaryDirectory(on: world)
    let file = directory.path + "/graph"
    let edges = (0..<world.count).map { "\($0) \(($0 + 1) % world.count)" }
    func run(_ text: String, _ keys: String = "") throws -> UInt64 {
      try directory.change { try text.write(toFile: file, atomically: true, encoding: .utf8) }
      return try hash(settings("graph=\(file)\(keys)"))
    }
    let ring = try hash(settings("graph=ring"))
    #expect(try run(edges.joined(separator: "\n")) == ring)
    #expect(try run(edges.map { "\($0) 1/3" }.joined(separator: "\n")) == ring)
    #expect(try run(edges.map { "\($0) 1/4" }.joined(separator: "\n")) != ring)
    let error = #expect(throws: TrainingError.self) { try run("0 1") }
    #expect(error?.exitStatus == 65 && error?.description.contains("\(file): some workers never hear of others") == true)
    let missing = #expect(throws: TrainingError.self) { try hash(settings("graph=rnig")) }
    #expect(missing?.exitStatus == 74 && missing?.description.contains("ring, torus, exponential, complete or a file") == true)
    try world.barrier()
  }

  /// A gradient that is not finite changes nothing, and is told.
  @Test func gradientsThatAreNotFiniteAreRefused() throws {
    let run = settings("method=choco") { ($0.injectNonFinite, $0.steps) = ("1:0", 4) }
    let outcome = try TrainingRun(run, on: world, isSilent: true).run()
    #expect(outcome.evaluation!.loss.isFinite && outcome.steps == 4)
    var ending = run
    ending.nonFinite = .abort
    let error = #expect(throws: (any Error).self) { try TrainingRun(ending, on: world, isSilent: true).run() }
    #expect("\(String(describing: error))".contains("not finite"))
  }

  /// A model from a file is where all workers begin, and their public copies.
  @Test func beginsWithAModelFile() throws {
    let directory = try TemporaryDirectory(on: world)
    let file = directory.path + "/model.safetensors"
    let first = try hash(settings { ($0.output, $0.steps, $0.seed) = (file, 5, 3) })
    try world.barrier()
    // Weights of random pushes are not powers of two, and a share and its division round.
    for method in Self.methods where !method.contains("random") {
      // A rate so small that nothing moves.
      #expect(
        try hash(settings(method) { ($0.initialModel, $0.steps, $0.learningRate) = (file, 3, 1e-30) }) == first, "\(method)")
    }
    try world.barrier()
  }

  /// What the workers cannot do is refused by name, and so are keys of other methods.
  @Test func whatCannotBeIsRefused() throws {
    let cases: [(String, String, (inout TrainerOptions) -> Void)] = [
      ("", "--codec one-bit:group=64 does not go with --strategy gossip", { $0.codec = "one-bit:group=64" }),
      ("method=choco", "--codec fetch-sgd does not go with --strategy gossip", { $0.codec = "fetch-sgd" }),
      ("method=choco", "--codec auto does not go with --strategy gossip", { $0.codec = "auto" }),
      ("", "--clip does not go with --strategy gossip", { $0.clip = 1 }),
      ("", "--warm-start 3 does not go with --strategy gossip", { $0.warmStart = 3 }),
      ("method=choco", "--warm-start 3 does not go with --strategy gossip", { $0.warmStart = 3 }),
      ("", "--tune-rate does not go with --strategy gossip", { $0.tuneRate = "after-epoch" }),
      ("", "--optimizer adagrad does not go with --strategy gossip", { $0.optimizer = "adagrad" }),
      ("", "--sampled does not go with --strategy gossip", { ($0.clients, $0.sampled) = (12, 4) }),
      ("", "--emulate-speed does not go with --strategy gossip, whose models do not depend", { $0.emulateSpeed = .roundRobin }),
      ("", "--record does not go with --strategy gossip", { $0.record = "/tmp/never-written" }),
      ("workers=\(world.count + 1)", world.count == 1 ? "" : "cannot be shared", { _ in }),
      ("workers=1000", world.count == 1 ? "smaller than the 1000 workers" : "", { _ in }),
      ("method=star", "unknown method 'star'", { _ in }), ("gamma=1", "gamma is a key of method=choco, no-loco", { _ in }),
      ("method=no-loco,graph=ring", "graph is a key of method=d-psgd, choco, push-sum", { _ in }),
      ("method=push-sum,graph=ring", "graph goes with targets=neighbours", { _ in }),
      (
        "method=no-loco,outer-momentum=0.9,gamma=5", world.count == 1 ? "" : "so that they move apart",
        { _ in }
      ),
    ]
    for (keys, sentence, change) in cases where !sentence.isEmpty {
      do {
        _ = try TrainingRun(settings(keys, change), on: world, isSilent: true)
        Issue.record("\(keys): not refused, \(sentence)")
      } catch { #expect("\(error)".contains(sentence), "\(keys): \(error)") }
    }
  }
}
