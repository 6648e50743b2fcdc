import Buffers
import Foundation
import MPI
import PointToPoint
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Runs in which owners apply gradients as they come.
@Suite(.serialized, .ranks(atMost: 4)) struct AsynchronousTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.warmStart, $0.minibatch, $0.verifyEvery) = (strategy, 0, 48, 0)
      ($0.momentum, $0.learningRate) = (0.5, 0.02)
      change(&$0)
    }
  }

  private func hash(_ options: TrainerOptions, on ranks: Communicator = world) throws -> UInt64 {
    try TrainingRun(options, on: ranks, isSilent: true).run().modelHash
  }

  /// One worker is plain descent, whatever the rule: nothing is late.
  @Test(
    .enabled(if: World.count == 1, "one rank is one worker"),
    arguments: ["asgd", "dc-asgd", "ssp:bound=0", "asgd:rate=inverse", "ssp:bound=1..3", "asgd:push=1,pull-every=1"])
  func oneWorkerIsPlainDescent(_ strategy: String) throws {
    for codec in ["none", "one-bit"] {
      let run = settings(strategy) { ($0.codec, $0.weightDecay) = (codec, 1e-3) }
      var plain = run
      (plain.strategy, plain.codec) = ("all-reduce", "none")
      // Its own samples are those of the only client, one after another over meetings.
      var (own, all) = (run, plain)
      (own.clients, own.steps, own.evaluateEvery) = (1, 6, 2)
      (all.clients, all.steps) = (1, 6)
      if codec == "none" { #expect(try hash(own) == hash(all), "\(strategy)") }
      // Between a rank and itself nothing is lost with floats.
      if codec == "none" { #expect(try hash(run) == hash(plain), "\(strategy)") } else { #expect(try hash(run) != hash(plain)) }
    }
  }

  /// In step, and as floats, the mean of the workers' gradients is the sum of an all-reduce, bit for bit.
  @Test(.enabled(if: [2, 4].contains(World.count), "shares of a power of two are exact")) func aBoundOfZeroIsInStep() throws {
    func run(_ strategy: String) -> TrainerOptions {
      settings(strategy) { ($0.codec, $0.steps, $0.minibatch) = ("none", 5, 64) }
    }
    let (live, inStep) = (try hash(run("ssp:bound=0")), try hash(run("all-reduce")))
    #expect(live == inStep)
  }

  /// Emulated orders give the same bits on any number of ranks; delay matters, and its compensation, too.
  @Test func emulatedOrdersGiveTheSameBitsOnAnyRanks() throws {
    let alone = try world.split(color: world.rank)!
    var hashes: [String: UInt64] = [:]
    for strategy in [
      "asgd", "asgd:rate=inverse", "asgd:softsync=3", "dc-asgd", "dc-asgd:lambda=0", "dc-asgd:form=c,lambda=5", "ssp:bound=1",
      "asgd:rate=adadelay-by-value", "asgd:rate=adadelay-by-value,softsync=3",
      "asgd:push=1,pull-every=1,pipeline=false", "asgd:push=2,pull-every=2,pipeline=true",
    ] {
      let workers = strategy + (strategy.contains(":") ? "," : ":") + "workers=12"
      for (name, speed, codec) in [("exp", EmulatedSpeed.exponential, "none"), ("slow", .slow(factor: 3), "one-bit")] {
        let run = settings(workers) { ($0.emulateSpeed, $0.codec, $0.evaluateEvery) = (speed, codec, 3) }
        let found = try hash(run)
        #expect(try hash(run, on: alone) == found, "\(strategy) \(name) \(codec)")
        hashes["\(strategy) \(name)"] = found
      }
    }
    func found(_ run: String) throws -> UInt64 { try #require(hashes[run]) }
    let plain = try found("asgd exp")
    #expect(try found("dc-asgd:lambda=0 exp") == plain)
    #expect(try found("asgd:push=1,pull-every=1,pipeline=false exp") == plain)
    for other in [
      "dc-asgd exp", "dc-asgd:form=c,lambda=5 exp", "ssp:bound=1 exp", "asgd:softsync=3 exp", "asgd:rate=inverse exp",
      "asgd:push=2,pull-every=2,pipeline=true exp", "asgd:rate=adadelay-by-value exp",
    ] {
      #expect(try found(other) != plain, "\(other)")
    }
    try world.barrier()
  }

  /// What a checkpoint holds is all that the next step depends on, also on another number of ranks if nothing is left unsent.
  @Test(
    arguments: [
      ("none", "dc-asgd:", "sgd"), ("one-bit", "dc-asgd:", "sgd"), ("one-bit", "asgd:", "adam"),
      ("none", "asgd:rate=adadelay-by-value,", "sgd"),
    ])
  func resumesBitForBit(_ codec: String, _ strategy: String, _ optimizer: String) throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("\(strategy)workers=12") {
      ($0.codec, $0.emulateSpeed, $0.steps, $0.evaluateEvery) = (codec, .exponential, 9, 3)
      if optimizer == "adam" { ($0.optimizer, $0.momentum, $0.partition) = ("adam", 0.9, "dirichlet:0.5") }
    }
    let whole = try hash(run)
    (run.checkpoint, run.checkpointEvery) = (directory.path + "/checkpoints", 3)
    #expect(try train(run, until: 6).wasStopped)
    run.resume = true
    if codec == "none", world.count > 1 {
      if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
        #expect(try hash(run, on: alone) == whole, "on one rank")
      }
    } else {
      #expect(try hash(run) == whole)
    }
    try world.barrier()
  }

  /// A live run trains: its loss falls as that of a run in step.
  @Test func liveRunsLearn() throws {
    for (strategy, codec) in [("asgd", "none"), ("dc-asgd", "one-bit"), ("ssp:bound=1", "one-bit")] {
      let run = settings(strategy) {
        ($0.codec, $0.momentum, $0.learningRate, $0.epochs) = (codec, 0, 0.2, 8)
        $0.steps = 60
      }
      let trainer = try TrainingRun(run, on: world, isSilent: true)
      let outcome = try trainer.run()
      let start = try TrainingRun(
        settings("asgd") {
          $0.steps = 1; $0.learningRate = 1e-6
        }, on: world, isSilent: true
      ).run()
      #expect(outcome.evaluation!.loss < 0.9 * start.evaluation!.loss, "\(strategy) \(codec)")
      #expect(try world.allGather([outcome.modelHash]).allSatisfy { $0 == outcome.modelHash })
    }
  }

  /// A live run that was recorded, replayed twice and from a checkpoint in its middle: one model.
  @Test func recordedRunsAreReplayed() throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("dc-asgd:bound=3") {
      ($0.codec, $0.steps, $0.evaluateEvery, $0.checkpointEvery) = ("one-bit", 9, 3, 3)
      ($0.checkpoint, $0.record) = (directory.path + "/live", directory.path + "/events")
    }
    let live = try hash(run)
    (run.record, run.replay) = (nil, directory.path + "/events")
    (run.checkpoint, run.checkpointEvery) = (nil, nil)
    for _ in 0..<2 { #expect(try hash(run) == live) }
    (run.checkpoint, run.checkpointEvery) = (directory.path + "/replayed", 3)
    #expect(try train(run, until: 6).wasStopped)
    run.resume = true
    #expect(try hash(run) == live)
    // Other meetings have other events.
    (run.resume, run.checkpoint, run.checkpointEvery, run.evaluateEvery) = (false, nil, nil, 2)
    let error = #expect(throws: (any Error).self) { try hash(run) }
    #expect("\(String(describing: error))".contains("holds no events of minibatches"))
  }

  /// A gradient that is not finite is not pushed, and counted; or its values are set to zero.
  @Test(arguments: ["none", "one-bit"]) func gradientsThatAreNotFiniteAreNotPushed(_ codec: String) throws {
    var run = settings("asgd") { ($0.injectNonFinite, $0.steps, $0.codec, $0.emulateSpeed) = ("1:0", 4, codec, .roundRobin) }
    run.verifyEvery = 1
    func warnings(_ run: TrainerOptions) throws -> [String] {
      let (outcome, lines) = try metrics(run)
      #expect(outcome.evaluation!.loss.isFinite && outcome.steps == 4)
      return lines.compactMap { $0["event"] as? String == "warning" ? $0["text"] as? String : nil }
    }
    let place = world.count > 1 ? " on rank 0 on \(world.processorName)" : ""
    #expect(try warnings(run) == ["up to step 2: 1 gradient not finite (layers.3.weight\(place)), left out by the workers"])
    run.nonFinite = .zero
    #expect(try warnings(run) == ["up to step 2: 1 value of the gradients not finite, set to zero"])
    run.nonFinite = .abort
    let error = #expect(throws: (any Error).self) { try TrainingRun(run, on: world, isSilent: true).run() }
    #expect("\(String(describing: error))".contains("not finite"))
  }

  /// Workers whose samples are of different classes: the same bits on any number of ranks, and as few samples as a worker has.
  @Test func workersTakeSamplesOfTheirOwn() throws {
    let alone = try world.split(color: world.rank)!
    func run(_ partition: String, _ clients: Int?) -> TrainerOptions {
      settings("asgd:workers=12") {
        ($0.partition, $0.clients, $0.emulateSpeed, $0.steps, $0.codec) = (partition, clients, .slow(factor: 3), 8, "one-bit")
      }
    }
    var hashes: Set<UInt64> = []
    for (partition, clients) in [("iid", nil), ("iid", 12), ("by-class:1", nil), ("by-class:2", 30)] {
      let found = try hash(run(partition, clients))
      #expect(try hash(run(partition, clients), on: alone) == found, "\(partition)")
      hashes.insert(found)
    }
    #expect(hashes.count == 4)
    try world.barrier()
  }

  /// A run that has lost a rank goes on without it: what that rank's worker had not sent is not lost, and its samples are the others'.
  @Test(.ranks(atLeast: 2), arguments: ["asgd", "dc-asgd", "ssp:bound=1"]) func runsGoOnOnFewerRanks(_ strategy: String) throws
  {
    let directory = try TemporaryDirectory(on: world)
    var run = settings(strategy) {
      ($0.codec, $0.partition, $0.momentum, $0.learningRate) = ("one-bit", "by-class:5", 0, 0.1)
      ($0.checkpoint, $0.steps, $0.schedule) = (directory.path + "/checkpoints", 28, "constant")
      $0.emulateSpeed = .roundRobin
    }
    let stopped = try train(run, until: 14)
    #expect(stopped.wasStopped)
    run.resume = true
    let trainer = try world.split(color: world.rank < world.count - 1 ? 0 : nil).map {
      try TrainingRun(run, on: $0, isSilent: true)
    }
    if let outcome = try trainer?.run() {
      // That of the first job is from after an epoch; a model that knows nothing has more than 2.3.
      let (loss, before) = (outcome.evaluation!.loss, stopped.evaluation!.loss)
      #expect(outcome.steps == 28 && loss < max(before, 2), "\(strategy): \(loss) after \(before)")
    }
    try world.barrier()
  }

  /// The places of the samples that workers take: each client's own, one after another, whoever asks, and all ranks know of all.
  @Test(.oneProcess) func clientsGiveTheirSamplesInTurn() throws {
    var clients = try WorkerClients(clientCount: 5, workerCount: 3, minibatch: 10)
    var other = clients
    // Worker 0 has four samples a minibatch and the clients 0 and 3, worker 1 has three and the clients 1 and 4.
    let order = [0, 1, 0, 0, 2, 1, 1]
    let taken = order.map { clients.next(for: $0) }
    #expect(taken.map(\.client) == [0, 1, 3, 0, 2, 4, 1])
    #expect(taken.map(\.places) == [0..<4, 0..<3, 0..<4, 4..<8, 0..<3, 0..<3, 3..<6])
    other.advance(by: [3, 3, 1])
    #expect(other == clients && clients.counter == "8 6 3 4 3")
    // Two workers go on with the samples of three.
    var fewer = try WorkerClients(clientCount: 5, workerCount: 2, minibatch: 10)
    fewer.restore(clients.counter)
    #expect(fewer.next(for: 1).places == 4..<9 && fewer.next(for: 1).client == 1)
    #expect(throws: (any Error).self) { try WorkerClients(clientCount: 2, workerCount: 3, minibatch: 10) }
  }

  /// Between meetings rank 0 tells what it sees; the histogram of a run that was broken off is that of the whole.
  @Test func whatIsToldBetweenMeetings() throws {
    let run = settings("asgd:workers=12") {
      ($0.emulateSpeed, $0.steps, $0.logEvery, $0.evaluateEvery) = (.roundRobin, 20, 3, 1000)
    }
    let (outcome, lines) = try metrics(run)
    let steps = lines.filter { $0["event"] as? String == "step" }
    // An epoch has seven steps.
    #expect(steps.map { $0["step"] as! Int } == [3, 6, 7, 9, 12, 14, 15, 18, 20], "\(steps)")
    #expect(
      steps.allSatisfy { ($0["rank"] != nil) == ((($0["step"] as! Int) % 7 != 0) && $0["step"] as! Int != 20) }, "\(steps)")
    #expect(steps.allSatisfy { ($0["loss"] as! Double) > 0 && ($0["samples"] as! Int) > 0 })
    let (broken, later) = try brokenOff(after: 6, run)
    #expect(broken.steps == outcome.steps)
    func staleness(_ lines: [[String: Any]]) -> [[Int]] { lines.last?["staleness"] as? [[Int]] ?? [] }
    func counted(_ lines: [[String: Any]]) -> Int { staleness(lines).joined().reduce(0, +) }
    #expect(counted(lines) == 12 * 20)
    #expect(counted(later) == 12 * 20, "\(staleness(later))")
  }

  /// What asynchronous strategies cannot do is refused by name.
  @Test func whatCannotBeIsRefused() throws {
    func refusal(_ strategy: String, _ change: (inout TrainerOptions) -> Void) -> String {
      do {
        _ = try TrainingRun(settings(strategy, change), on: world, isSilent: true)
        return ""
      } catch { return "\(error)" }
    }
    let cases: [(String, String, (inout TrainerOptions) -> Void)] = [
      ("asgd", "--codec fetch-sgd does not go with --strategy asgd", { $0.codec = "fetch-sgd" }),
      (
        "asgd", "--codec chunk-top-k:divide=senders does not go with --strategy asgd",
        { $0.codec = "chunk-top-k:divide=senders" }
      ),
      ("asgd", "--clip does not go with --strategy asgd", { $0.clip = 1 }),
      ("dc-asgd", "--warm-start replicated:2 does not go with --strategy dc-asgd", { $0.warmStart = .replicated(2) }),
      ("ssp", "--tune-rate does not go with --strategy ssp", { $0.tuneRate = "after-epoch" }),
      ("asgd", "--optimizer adagrad does not go with --strategy asgd", { $0.optimizer = "adagrad" }),
      ("all-reduce", "--emulate-speed does not go with --strategy all-reduce", { $0.emulateSpeed = .roundRobin }),
      ("asgd:workers=\(3 * world.count)", "needs an order: --emulate-speed rr", { _ in }),
      ("dc-asgd:form=b", "unknown form 'b'", { _ in }),
      ("dc-asgd:pipeline=true", "'dc-asgd' has no key 'pipeline'", { _ in }),
      ("ssp:bound=6..2", "bound is a whole number of 0 to 1000000, or a range such as 2..6, not '6..2'", { _ in }),
      ("ssp:bound=2.6", "or a range such as 2..6, not '2.6'", { _ in }),
      ("easgd", "--clip does not go with --strategy easgd", { $0.clip = 1 }),
      ("eamsgd", "--momentum 0.5 does not go with --strategy eamsgd, whose delta gives the momentum", { _ in }),
      ("eamsgd", "--optimizer adam does not go with --strategy eamsgd", { ($0.momentum, $0.optimizer) = (0.9, "adam") }),
      ("async-local:weight=two", "unknown weight 'two'", { _ in }),
      ("asgd", "--sampled does not go with --strategy asgd", { ($0.clients, $0.sampled) = (40, 8) }),
      ("asgd:workers=12", "--clients 7 is less than the 12 workers", { ($0.clients, $0.emulateSpeed) = (7, .roundRobin) }),
    ]
    for (strategy, sentence, change) in cases {
      let found = refusal(strategy, change)
      #expect(found.contains(sentence), "\(strategy): \(found)")
    }
    if world.count > 1 {
      #expect(
        refusal("asgd:workers=\(world.count + 1)") { $0.emulateSpeed = .roundRobin }.contains(
          "cannot be shared by \(world.count) ranks"))
    }
  }
}
