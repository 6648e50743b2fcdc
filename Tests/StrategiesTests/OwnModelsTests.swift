import Buffers
import Collectives
import Foundation
import MPI
import Networks
import Reporting
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs whose ranks hold different models: the mean of the models is evaluated, saved, hashed and resumed, and no meeting changes it.
@Suite(.serialized, .ranks(atMost: 4)) struct OwnModelsTests {
  private func settings(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.codec, $0.momentum, $0.steps, $0.verifyEvery) = ("none", 0, 9, 4)
      ($0.model, $0.data, $0.minibatch) = ("mlp:8", "glyphs:train=96,test=30", 20)
      change(&$0)
    }
  }

  private func prepare(_ options: TrainerOptions, on ranks: Communicator = world) throws -> TrainingRun {
    try TrainingRun(options, on: ranks, isSilent: true, strategy: StrategyRecipe(schedule: .unsynchronized) { OwnModels($0) })
  }

  private func hash(_ options: TrainerOptions, on ranks: Communicator = world) throws -> UInt64 {
    try prepare(options, on: ranks).run().modelHash
  }

  /// The mean of the models of `count` ranks after `steps`, each of which descends alone from `start`, in plain lines.
  private func mean(
    of count: Int, _ options: TrainerOptions, steps: Range<Int>? = nil, from start: [Float]? = nil
  ) throws -> PlainRun {
    let models = try (0..<count).map { rank in
      let run = try PlainRun(options)
      for (index, value) in (start ?? []).enumerated() { run.weights[index] = value }
      for step in steps ?? run.steps {
        let samples = run.samples(of: step)
        let share = samples[Partition(count: samples.count, into: count)[rank]]
        try run.computeGradient(of: share, among: share.count)
        for index in 0..<run.weights.count { run.weights[index] -= run.rate(of: step) * run.gradient[index] }
      }
      return run.weights
    }
    let run = try PlainRun(options)
    for index in 0..<run.weights.count {
      run.weights[index] = Float(models.reduce(0.0) { $0 + Double($1[index]) } / Double(count))
    }
    return run
  }

  /// Evaluation, hash and output are those of the mean, the same on all ranks, and the ranks' models differ.
  @Test func theMeanRepresentsTheRun() throws {
    let directory = try TemporaryDirectory(on: world)
    let expected = try mean(of: world.count, settings())
    let run = settings { $0.output = directory.path + "/model.safetensors" }
    let trainer = try prepare(run)
    let outcome = try trainer.run()
    #expect(outcome.modelHash == expected.weights.hash())
    #expect(try abs(outcome.evaluation!.loss - expected.testLoss()) < 1e-5)
    let own = try #require(trainer.strategy as? OwnModels).own
    let hashes = try world.allGather([own.hash()])
    #expect(Set(hashes).count == world.count)
    // The file begins another run, in which every rank has it.
    let next = settings { ($0.initialModel, $0.steps) = (run.output, 3) }
    let continued = try mean(of: world.count, next, from: Array(expected.weights.values))
    #expect(try hash(next) == continued.weights.hash())
    try world.barrier()
  }

  /// When models are compared, evaluated and saved changes no bit.
  @Test func meetingsChangeNothing() throws {
    let directory = try TemporaryDirectory(on: world)
    let expected = try hash(settings { $0.verifyEvery = 0 })
    for (verifyEvery, evaluateEvery, checkpointEvery) in [(1, 2, 3), (5, 4, 1)] {
      let run = settings {
        ($0.verifyEvery, $0.evaluateEvery, $0.checkpointEvery) = (verifyEvery, evaluateEvery, checkpointEvery)
        $0.checkpoint = "\(directory.path)/\(verifyEvery)"
      }
      #expect(try hash(run) == expected)
    }
    try world.barrier()
  }

  /// On the same ranks a run goes on bit for bit; on another number every rank goes on with the mean.
  @Test func goesOnWithItsModelsOrTheirMean() throws {
    let directory = try TemporaryDirectory(on: world)
    let whole = try hash(settings())
    var run = settings { ($0.checkpoint, $0.checkpointEvery) = (directory.path + "/checkpoints", 5) }
    // The checkpoints are this object's as long as it lives.
    func stop() throws -> Bool {
      let first = try prepare(run)
      first.lastStep = 5
      return try first.run().wasStopped
    }
    #expect(try stop())
    run.resume = true
    if world.count > 1 {
      try directory.change {
        try FileManager.default.copyItem(atPath: run.checkpoint!, toPath: directory.path + "/copy")
      }
      if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
        var other = run
        other.checkpoint = directory.path + "/copy"
        let start = try mean(of: world.count, settings(), steps: 0..<5)
        let expected = try mean(of: 1, settings(), steps: 5..<9, from: Array(start.weights.values))
        #expect(try hash(other, on: alone) == expected.weights.hash())
      }
      try world.barrier()
    }
    #expect(try hash(run) == whole)
    try world.barrier()
  }

  /// Trials and going back put back the ranks' own models; ``OwnModels`` sees to it that they agree with their mean.
  @Test(arguments: ["search", "after-epoch"]) func tuningPutsOwnModelsBack(_ control: String) throws {
    let directory = try TemporaryDirectory(on: world)
    let path = directory.path + "/metrics.jsonl"
    let run = settings {
      ($0.tuneRate, $0.epochs, $0.steps, $0.metrics) = (control, 3, nil, path)
    }
    let trainer = try prepare(run)
    (trainer.strategy as? OwnModels)?.lossGrowth = 2
    let outcome = try trainer.run()
    #expect(try world.allGather([outcome.modelHash]).allSatisfy { $0 == outcome.modelHash })
    try world.barrier()
    let decisions = try metricsLines(path).filter { $0["event"] as? String == "tuning" }
    #expect(!decisions.isEmpty)
    if control != "search" { #expect(decisions.contains { $0["goesBack"] as? Bool == true }) }
    try world.barrier()
  }

  /// The representative model must be the same bits everywhere, whatever the strategy.
  @Test(.ranks(atLeast: 2)) func aRepresentativeThatDiffersIsNoticed() throws {
    let trainer = try prepare(settings())
    (trainer.strategy as? OwnModels)?.error = world.rank == 1 ? 0.5 : 0
    #expect(throws: ExchangeError.self) { _ = try trainer.run() }
    try world.barrier()
  }
}

/// Every rank descends on its own share of each step, with a model of its own, and the mean of the models represents the run.
private final class OwnModels: Strategy {
  private let parts: StrategyParts
  /// This rank's model.
  let own: FloatBuffer
  private let gradient: FloatBuffer
  /// Whether the checkpoint has models of as many ranks.
  private var hasSavedModel = false
  /// For tests: what this rank adds to the first value of the mean.
  var error: Float = 0
  /// For tests: by what the loss that is reported grows with each step.
  var lossGrowth = 1.0

  init(_ parts: StrategyParts) {
    self.parts = parts
    own = FloatBuffer(count: parts.parameters.count)
    gradient = FloatBuffer(count: own.count)
    startFromModel()
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    #expect(try mean() == Array(parts.parameters.values), "own models and their mean have parted before step \(step)")
    var sums = (loss: 0.0, correct: 0, samples: 0)
    for step in step..<meeting {
      let batch = course.loader.batch(at: step)
      let result = try parts.network.gradient(
        of: batch, parameters: own, scale: 1 / Float(batch.count), into: gradient
      ) { _ in }
      for index in 0..<own.count { own[index] -= course.rate(step) * gradient[index] }
      sums = (sums.loss + result.lossSum, sums.correct + result.correct, sums.samples + result.count)
    }
    for (index, value) in try mean().enumerated() { parts.parameters[index] = value }
    parts.parameters[0] += error
    let all = try parts.records.gather(
      [sums.loss.bitPattern, UInt64(sums.correct), UInt64(sums.samples)], activity: "the meeting")
    var outcome = StepOutcome()
    outcome.stepCount = meeting - step
    outcome.lossSum = all.reduce(0) { $0 + Double(bitPattern: $1[0]) } * pow(lossGrowth, Double(step))
    (outcome.correctCount, outcome.sampleCount) = all.reduce((0, 0)) { ($0.0 + Int($1[1]), $0.1 + Int($1[2])) }
    outcome.learnt.add(lossSum: outcome.lossSum, sampleCount: outcome.sampleCount)
    return outcome
  }

  /// The mean of the ranks' models, added in rank order in fp64: that of equal models is the same model.
  private func mean() throws -> [Float] {
    let all = try parts.hosts.world.allGather(Array(own.values))
    return (0..<own.count).map { index in
      let sum = stride(from: index, to: all.count, by: own.count).reduce(0.0) { $0 + Double(all[$1]) }
      return Float(sum / Double(parts.hosts.world.count))
    }
  }

  func startFromModel() { own.copy(from: parts.parameters) }

  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    hasSavedModel = shareCount == parts.grid.shareCount
  }

  func place() { if !hasSavedModel { startFromModel() } }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("ownModel", .local, of: own))
  }

  func drain() -> Traffic { Traffic() }
  func settle() {}
  func abandon() { parts.records.abandon() }
  func forget() {}
  func finish() {}
  var times: PhaseTimes { PhaseTimes() }
  var report: ExchangeReport { ExchangeReport() }
}
