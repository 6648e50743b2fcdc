import Buffers
import Datasets
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// What is skipped because it is not finite: ten steps in a row end a run, and nothing else is lost with them.
@Suite(.serialized) struct SkippedStepTests {
  private let doubleBuffered = options { $0.strategy = "double-buffer" }

  /// Where the last rank's gradients are not finite.
  private func injected(_ steps: String, half: Int? = nil) -> String {
    "\(steps):\(World.count - 1)" + (half.map { ":\($0)" } ?? "")
  }

  private func expectEnd(at step: Int, _ options: TrainerOptions) {
    #expect { try train(options) } throws: {
      "\($0)".contains("step \(step):") && "\($0)".contains("10 steps in a row") && !"\($0)".contains("\n")
    }
  }

  @Test(arguments: [nil, 0, 1]) func tenStepsInARowEndARunWhicheverHalfIsSkipped(_ half: Int?) {
    for codec in ["one-bit", "none"] {
      var options = doubleBuffered
      (options.codec, options.injectNonFinite) = (codec, injected("2-19", half: half))
      expectEnd(at: 12, options)
    }
  }

  @Test(arguments: ["all-reduce", "true-top-k:k=1/20"]) func andOfOneGradientAStep(_ strategy: String) {
    expectEnd(
      at: 12,
      options {
        ($0.strategy, $0.injectNonFinite) = (strategy, injected("2-19"))
        $0.warmStart = strategy == "all-reduce" ? 0 : nil
      })
  }

  @Test(arguments: [nil, 0, 1]) func nineStepsDoNot(_ half: Int?) throws {
    var options = doubleBuffered
    options.injectNonFinite = injected("2-10", half: half)
    #expect(try train(options).steps == 20)
  }

  /// The count is state: nine steps here and one there are ten.
  @Test(arguments: [nil, 0, 1]) func aRowGoesOnAfterAResume(_ half: Int?) throws {
    let directory = try TemporaryDirectory(on: world)
    var options = doubleBuffered
    (options.schedule, options.checkpoint, options.steps) = ("constant", directory.path + "/checkpoints", 7)
    options.injectNonFinite = injected("2-19", half: half)
    _ = try train(options)
    (options.steps, options.resume) = (20, true)
    expectEnd(at: 12, options)
    // A step that was done in between ends the row.
    options.injectNonFinite = injected("8-19", half: half)
    expectEnd(at: 18, options)
    try world.barrier()
  }

  /// The loss of what was done of a step is told, and that of what was skipped is not.
  @Test(arguments: [0, 1]) func theOtherHalfsLossIsTold(_ half: Int) throws {
    var options = doubleBuffered
    (options.steps, options.logEvery, options.injectNonFinite) = (1, 1, injected("0", half: half))
    let data = try datasets.make(options.data)(options.seed)
    let network = try models.make(options.model)(data.featureCount, data.classCount)
    let weights = FloatBuffer(count: network.layout.count)
    network.initialize(weights, seed: options.seed)
    let samples = Array(SampleOrder(count: data.count(.train), seed: options.seed).epoch(0).prefix(options.minibatch))
    let middle = (samples.count + 1) / 2
    let other = half == 0 ? samples[middle...] : samples[..<middle]
    let batch = Minibatch(capacity: other.count, featureCount: data.featureCount)
    data.load(other, of: .train, into: batch)
    let gradient = FloatBuffer(count: weights.count)
    let expected =
      try network.gradient(of: batch, parameters: weights, scale: 1, into: gradient) { _ in }.lossSum / Double(other.count)

    let lines = try metrics(options).lines
    let step = try #require(lines.first { $0["event"] as? String == "step" }?["loss"] as? Double)
    let epoch = try #require(lines.first { $0["event"] as? String == "epoch" }?["trainLoss"] as? Double)
    // Half of another minibatch has another loss.
    #expect(abs(step - expected) < 1e-5 && abs(epoch - expected) < 1e-5, "\(step) and \(epoch) for \(expected)")
  }

  @Test func aFaultOfAHalfIsToldAsOne() throws {
    var options = doubleBuffered
    (options.nonFinite, options.injectNonFinite) = (.abort, injected("3", half: 1))
    #expect { try train(options) } throws: { "\($0)".contains("step 4:") }
  }
}
