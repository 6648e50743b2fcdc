import Buffers
import Collectives
import Datasets
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// What is said of a step and of an evaluation is said of all samples once, whichever ranks have them.
@Suite(.serialized) struct StepOutcomeTests {
  private static let strategies: [(name: String, start: WarmStart)] = [
    ("all-reduce", 0), ("all-reduce", 3), ("all-reduce", .replicated(3)), ("double-buffer", 0),
    ("double-buffer", .replicated(3)),
    ("fetch-sgd:k=1/20,columns=1/8", 0), ("true-top-k:k=1/20", 0),
  ]

  private func trainer(_ how: (name: String, start: WarmStart), _ change: (inout TrainerOptions) -> Void = { _ in }) throws
    -> TrainingRun
  {
    let options = _TrainingSupport.options {
      ($0.strategy, $0.warmStart) = how
      // Seven minibatches of which the last is short.
      $0.minibatch = 49
      change(&$0)
    }
    return try TrainingRun(options, on: world, isSilent: true)
  }

  /// Nothing is learnt at the rate zero, so that every step can be looked at with the model of the start.
  @Test(arguments: strategies) func lossAndRightAnswersAreThoseOfTheWholeMinibatch(_ how: (name: String, start: WarmStart))
    throws
  {
    let trainer = try trainer(how)
    let run = try PlainRun(_TrainingSupport.options { $0.minibatch = 49 })
    for step in 0..<7 {
      let outcome = try trainer.strategy.step(step, from: trainer.loader, rate: 0, isMeasured: step % 2 == 0)
      let samples = run.samples(of: step)
      let batch = Minibatch(capacity: samples.count, featureCount: run.data.featureCount)
      run.data.load(samples, of: .train, into: batch)
      let expected = try run.network.evaluate(batch, parameters: run.weights, logPosteriors: nil)
      #expect(outcome.sampleCount == samples.count && samples.count == (step == 6 ? 36 : 49))
      #expect(outcome.correctCount == expected.correct)
      #expect(abs(outcome.lossSum - expected.lossSum) < 1e-4)
      #expect(!outcome.isSkipped && outcome.warning == nil)
    }
    _ = try trainer.strategy.drain()
    try world.barrier()
  }

  /// More ranks than test samples, as many, and shares that are not equal.
  @Test(arguments: [1, 3, 70, 599]) func anEvaluationIsThatOfAllTestSamples(count: Int) throws {
    let options = _TrainingSupport.options { $0.data = "glyphs:train=330,test=\(count)" }
    let run = try PlainRun(options)
    let batch = Minibatch(capacity: count, featureCount: run.data.featureCount)
    run.data.load(0..<count, of: .test, into: batch)
    let expected = try run.network.evaluate(batch, parameters: run.weights, logPosteriors: nil)
    let grid = try RankGrid(HostMap(world))
    let evaluator = Evaluator(run.data, network: run.network, on: grid, over: try RecordExchange(grid.all))
    let found = try evaluator.evaluate(run.weights)
    #expect(abs(found.loss - expected.lossSum / Double(count)) < 1e-6)
    #expect(found.accuracy == Double(expected.correct) / Double(count))
    #expect(found.digitAccuracy == nil && found.alignedAccuracy == nil)
    try world.barrier()
  }

  /// Ten steps in a row end a run; a step that was done begins a new row.
  @Test(arguments: ["all-reduce", "double-buffer", "true-top-k:k=1/20"]) func aStepThatWasDoneEndsARowOfSkippedOnes(
    name: String
  )
    throws
  {
    let trainer = try trainer((name, 0)) { $0.steps = 60 }
    var step = 0
    func run(finite: Bool) throws -> StepOutcome {
      let value = trainer.parameters[3]
      if !finite { trainer.parameters[3] = .nan }
      defer {
        if !finite { trainer.parameters[3] = value }
        step += 1
      }
      return try trainer.strategy.step(step, from: trainer.loader, rate: 0.001, isMeasured: false)
    }
    for skipped in [3, 9, 1, 9] {
      for _ in 0..<skipped { #expect(try run(finite: false).isSkipped) }
      #expect(try !run(finite: true).isSkipped)
    }
    for _ in 0..<9 { #expect(try run(finite: false).isSkipped) }
    #expect { try run(finite: false) } throws: { "\($0)".contains("10 steps in a row") }
    trainer.strategy.abandon()
    try world.barrier()
  }
}
