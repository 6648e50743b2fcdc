import Buffers
import Codecs
import Foundation
import MPI
import Optimizers
import PointToPoint
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Asynchronous runs whose workers take steps of their own.
@Suite(.serialized, .ranks(atMost: 4)) struct WorkerModelTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.minibatch, $0.verifyEvery, $0.codec) = (strategy, 48, 0, "none")
      ($0.learningRate, $0.steps, $0.evaluateEvery) = (0.05, 12, 6)
      change(&$0)
    }
  }

  private func hash(_ options: TrainerOptions, on ranks: Communicator = world) throws -> UInt64 {
    try TrainingRun(options, on: ranks, isSilent: true).run().modelHash
  }

  /// The trace of the guide, by the momentum that the strategy uses: v ← δv, x ← x + v, g at x, x ← x − ηg, v ← v − ηg is the step with
  /// Nesterov's momentum u = −v/η of the values x + δv at which g is computed.
  @Test(.enabled(if: World.count == 1, "one rank is both workers")) func momentumIsThatOfTheEquations() throws {
    let (centre, rate, delta) = (FloatBuffer(count: 1), Float(0.1), Float(0.5))
    centre[0] = 0.5
    var server = ParameterServer.Settings(workerCount: 2)
    server.method = .elastic(alpha: 0.3)
    let optimizers = (0..<2).map { _ in
      StochasticGradientDescent(
        OptimizerSettings(count: 1, momentum: delta, weightDecay: 0), style: MomentumStyle(isNesterov: true))
    }
    let servers = try ParameterServer(
      HostMap(world), layout: TensorLayout([("w", [1])]), parameters: centre, codec: Identity(), settings: server,
      step: { worker, x, gradient, _, _ in optimizers[worker].update(0..<1, of: x, with: gradient.baseAddress, rate: rate) },
      update: { _, _, _, _, _ in })
    try servers.run(0..<0, usesFloats: true, order: .listed([-1, -2]), work: { _, _, _, _, _ in 0 })
    let values = servers.workerValues.map(\.values)
    for x in values { x[0] = 0 }
    let expected = [[0.25, 0.005, 0.245], [0.3535, -0.04855, 0.16955], [0.398965, -0.0999595, 0.1335245]]
    for (round, right) in expected.enumerated() {
      try servers.run(2 * round..<2 * round + 2, usesFloats: true, order: .listed([0, -1, 1, -2])) {
        worker, _, x, gradient, _ in
        gradient[0] = x[0] - [1, -1][worker]
        return 1
      }
      let models = zip(values, optimizers).map { values, optimizer in
        var state = StateInventory()
        optimizer.contribute(to: &state)
        return values[0] + delta * rate * state.tensors[0].values[0]
      }
      for (value, right) in zip(models + [centre[0]], right) {
        #expect(abs(Double(value) - right) < 1e-7, "round \(round): \(value) \(right)")
      }
    }
  }

  /// One worker without a bond trains as in step, and the centre stays where it was; with one they draw near each other.
  @Test(.enabled(if: World.count == 1, "one rank is one worker")) func theCentreIsTheResult() throws {
    func outcome(_ strategy: String, rate: Double = 0.05) throws -> TrainingOutcome {
      try TrainingRun(settings(strategy) { ($0.steps, $0.learningRate) = (60, rate) }, on: world, isSilent: true).run()
    }
    let free = try outcome("easgd:alpha=0")
    #expect(try outcome("easgd:alpha=0", rate: 0.01).modelHash == free.modelHash)
    #expect(try outcome("easgd:alpha=0.5").evaluation!.loss < 0.95 * free.evaluation!.loss)
  }

  /// Emulated orders give the same bits on any number of ranks, with models, optimizers and momenta of many workers.
  @Test(arguments: ["none", "one-bit"]) func emulatedOrdersGiveTheSameBitsOnAnyRanks(_ codec: String) throws {
    let alone = try world.split(color: world.rank)!
    var hashes: Set<UInt64> = []
    let runs = [
      ("easgd:period=3", "sgd"), ("easgd:period=3,order=together", "sgd"), ("easgd:alpha=0.02,bound=1", "adam"),
      ("eamsgd:delta=0.5", "sgd"),
      ("async-local:steps=4", "sgd"), ("async-local:steps=3,outer-momentum=0,weight=mean,pull=floats", "adamw"),
    ]
    for (strategy, optimizer) in runs {
      let run = settings("\(strategy),workers=12") {
        ($0.emulateSpeed, $0.codec, $0.optimizer) = (.exponential, codec, optimizer)
        if optimizer != "sgd" { $0.learningRate = 0.002 }
      }
      let found = try hash(run)
      #expect(try hash(run, on: alone) == found, "\(strategy)")
      hashes.insert(found)
    }
    #expect(hashes.count == runs.count)
    try world.barrier()
  }

  /// A run that is resumed goes on bit for bit: with floats on one rank too, as each worker finds its model and its optimizer.
  @Test(
    arguments: [
      ("easgd:period=3", "adam", "none"), ("eamsgd:delta=0.8", "sgd", "one-bit"),
      ("eamsgd:delta=0.8,order=together", "sgd", "one-bit"), ("async-local:steps=4", "adam", "none"),
      ("asgd:push=2,pipeline=true", "sgd", "one-bit"),
    ]) func resumesBitForBit(_ strategy: String, _ optimizer: String, _ codec: String) throws
  {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("\(strategy),workers=12") {
      ($0.emulateSpeed, $0.codec, $0.optimizer) = (.exponential, codec, optimizer)
      if optimizer == "adam" { $0.learningRate = 0.002 }
    }
    let whole = try hash(run)
    (run.checkpoint, run.checkpointEvery) = (directory.path + "/checkpoints", 6)
    #expect(try train(run, until: 6).wasStopped)
    run.resume = true
    // Whose models and momenta are saved by worker, and no residual, does not depend on ranks.
    if (codec == "none" || strategy.hasPrefix("ea")) && world.count > 1 {
      if let alone = try world.split(color: world.rank == 0 ? 0 : nil) { #expect(try hash(run, on: alone) == whole) }
    } else {
      #expect(try hash(run) == whole)
    }
    try world.barrier()
  }

  /// Workers that meet one centre are in step: live runs repeat bit for bit, also by messages, and go on so.
  @Test(arguments: ["none", "one-bit"]) func oneCentreForAllRepeatsBitForBit(_ codec: String) throws {
    let run = settings("easgd:period=2,order=together") { $0.codec = codec }
    let whole = try hash(run)
    #expect(try hash(run) == whole)
    var messages = run
    messages.transport = .messages
    #expect(try hash(messages) == whole)
    if world.count > 1 { #expect(try hash(settings("easgd:period=2,order=together,alpha=0.01") { $0.codec = codec }) != whole) }
    var broken = run
    let directory = try TemporaryDirectory(on: world)
    (broken.checkpoint, broken.checkpointEvery) = (directory.path + "/checkpoints", 6)
    #expect(try train(broken, until: 6).wasStopped)
    broken.resume = true
    #expect(try hash(broken) == whole)
    let faulty = settings("easgd:order=together,bound=2")
    #expect { try Recipe(faulty) } throws: { "\($0)".contains("with order=together workers are in step") }
  }

  /// With another number of workers a run goes on: they begin at the centre.
  @Test(.enabled(if: World.count > 1, "as many workers as ranks")) func otherWorkersBeginAtTheCentre() throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("easgd:alpha=0.1") { ($0.emulateSpeed, $0.optimizer, $0.learningRate) = (.roundRobin, "adam", 0.002) }
    (run.checkpoint, run.checkpointEvery) = (directory.path + "/checkpoints", 6)
    #expect(try train(run, until: 6).wasStopped)
    run.resume = true
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      let outcome = try TrainingRun(run, on: alone, isSilent: true).run()
      #expect(outcome.steps == 12 && outcome.evaluation!.loss.isFinite)
    }
    try world.barrier()
  }

  /// Live runs learn, tell how far workers are from the centre, and are replayed by what they recorded.
  @Test func liveRunsLearnAndAreReplayed() throws {
    let directory = try TemporaryDirectory(on: world)
    for (index, (strategy, codec)) in [
      ("easgd:period=2", "none"), ("eamsgd:delta=0.5", "one-bit"), ("async-local:steps=3", "one-bit"),
      ("asgd:push=2,pull-every=2", "one-bit"), ("ssp:pipeline=true,bound=1..3", "none"),
    ].enumerated() {
      var run = settings(strategy) {
        ($0.codec, $0.learningRate, $0.steps, $0.evaluateEvery) = (codec, 0.2, 80, 20)
        if !strategy.hasPrefix("eamsgd") { $0.momentum = 0 }
        ($0.record, $0.metrics) = ("\(directory.path)/events-\(index)", "\(directory.path)/metrics-\(index)")
      }
      let outcome = try TrainingRun(run, on: world, isSilent: true).run()
      #expect(outcome.evaluation!.loss < 2.2, "\(strategy) \(outcome.evaluation!.loss)")
      #expect(try world.allGather([outcome.modelHash]).allSatisfy { $0 == outcome.modelHash })
      if world.rank == 0 {
        let metrics = try String(contentsOfFile: "\(directory.path)/metrics-\(index)", encoding: .utf8)
        #expect(metrics.contains("workerDistance") == strategy.hasPrefix("ea"))
      }
      (run.replay, run.record, run.metrics) = (run.record, nil, nil)
      #expect(try hash(run) == outcome.modelHash, "\(strategy)")
    }
  }
}
