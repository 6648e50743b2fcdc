import Buffers
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs of a small convolutional network, on as many ranks as the tests have.
@Suite(.serialized) struct ConvolutionalRunTests {
  private func convolutional(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.model = "cnn:3,6,20"
      $0.learningRate = 0.05
      change(&$0)
    }
  }

  /// The model of several ranks is that of one which computes whole minibatches, but for the order of sums.
  @Test(arguments: ["all-reduce", "double-buffer"]) func ranksTrainAsOneDoes(_ strategy: String) throws {
    let options = convolutional { ($0.codec, $0.strategy) = ("none", strategy) }
    let found = try trainedModel(options).values
    guard let alone = try world.split(color: world.rank == 0 ? 0 : nil) else { return try world.barrier() }
    let expected = try trainedModel(options, on: alone).values
    let farthest = (0..<found.count).map { abs(found[$0] - expected[$0]) }.max()!
    #expect(found.count == 3 * 26 + 6 * 76 + 20 * 97 + 10 * 21 && farthest < 1e-4, "\(farthest)")
    try world.barrier()
  }

  /// One rank is descent in a few plain lines with the gradients of whole minibatches.
  @Test(.enabled(if: World.count == 1, "one rank alone is plain descent"))
  func oneRankIsPlainDescentBitForBit() throws {
    let options = convolutional()
    let run = try PlainRun(options)
    var momenta = [Float](repeating: 0, count: run.weights.count)
    for step in run.steps {
      let samples = run.samples(of: step)
      try run.computeGradient(of: samples, among: samples.count)
      let rate = run.rate(of: step)
      for i in momenta.indices {
        momenta[i] = Float(options.momentum) * momenta[i] + run.gradient[i]
        run.weights[i] -= rate * momenta[i]
      }
    }
    #expect(try train(options).modelHash == run.weights.hash())
  }

  /// With one bit, runs repeat to the bit, ranks hold the same model, and a resumed run is an unbroken one.
  @Test(arguments: ["one-bit", "none"]) func aResumedRunEqualsAnUnbrokenOne(_ codec: String) throws {
    let options = convolutional { ($0.codec, $0.warmStart) = (codec, 3) }
    let expected = try train(options)
    #expect(Set(try world.allGather([expected.modelHash])).count == 1)
    #expect(try train(options).modelHash == expected.modelHash)
    #expect(try trainBrokenOff(after: 8, options).modelHash == expected.modelHash)
  }

  /// One bit with the error carried learns as floats do, and a saved model is judged as it was at the end of its run.
  @Test func oneBitLearns() throws {
    let directory = try TemporaryDirectory(on: world)
    let options = convolutional {
      ($0.steps, $0.warmStart) = (150, 40)
      $0.checkpoint = directory.path + "/checkpoints"
    }
    let evaluation = try #require(try train(options).evaluation)
    // One in ten by chance.
    #expect(evaluation.accuracy > 0.4 && evaluation.loss < 1.5, "\(evaluation)")
    #expect(try SavedModel(directory.path + "/checkpoints", on: world).evaluate() == evaluation)
    try world.barrier()
  }

  /// Data whose samples are no images are refused before anything is trained, as bad input.
  @Test func speechIsNoImage() throws {
    let directory = try TemporaryDirectory(on: world)
    let options = convolutional { ($0.model, $0.steps) = ("cnn", 2) }
    var spoken = options
    spoken.data = try SpokenTones(in: directory).specification
    #expect {
      try train(spoken)
    } throws: {
      "\($0)".contains("'cnn' reads images") && (exitStatus(of: $0) == 65)
    }
    try world.barrier()
  }
}
