import Buffers
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// Whole runs of a small transformer, on as many ranks as the tests have.
@Suite(.serialized) struct TextRunTests {
  private func transformer(_ directory: TemporaryDirectory, _ change: (inout TrainerOptions) -> Void = { _ in }) throws
    -> TrainerOptions
  {
    let file = try PeriodicText.file(in: directory)
    return options {
      $0.model = "transformer:layers=2,heads=2,width=16"
      $0.data = "text:\(file),context=12"
      ($0.minibatch, $0.learningRate) = (16, 0.2)
      change(&$0)
    }
  }

  /// The model of several ranks is that of one which computes whole minibatches, but for the order of sums.
  @Test func ranksTrainAsOneDoes() throws {
    let directory = try TemporaryDirectory(on: world)
    let options = try transformer(directory) { $0.codec = "none" }
    let found = try trainedModel(options).values
    guard let alone = try world.split(color: world.rank == 0 ? 0 : nil) else { return try world.barrier() }
    let expected = try trainedModel(options, on: alone).values
    let farthest = (0..<found.count).map { abs(found[$0] - expected[$0]) }.max()!
    #expect(found.count > 6000 && farthest < 1e-4, "\(farthest)")
    try world.barrier()
  }

  /// With one bit, runs repeat to the bit, ranks hold the same model, and a resumed run is an unbroken one.
  @Test(arguments: ["one-bit", "none"]) func aResumedRunEqualsAnUnbrokenOne(_ codec: String) throws {
    let directory = try TemporaryDirectory(on: world)
    let options = try transformer(directory) { ($0.codec, $0.warmStart) = (codec, 3) }
    let expected = try train(options)
    #expect(Set(try world.allGather([expected.modelHash])).count == 1)
    #expect(try train(options).modelHash == expected.modelHash)
    #expect(try trainBrokenOff(after: 8, options).modelHash == expected.modelHash)
    try world.barrier()
  }

  /// Accuracy and loss are per character, on any number of ranks, and a saved model is judged as it was at the end of its run.
  @Test func everyCharacterIsCounted() throws {
    let directory = try TemporaryDirectory(on: world)
    let options = try transformer(directory) {
      ($0.steps, $0.codec, $0.clip) = (1000, "none", 0.5)
      $0.checkpoint = directory.path + "/checkpoints"
      $0.metrics = directory.path + "/metrics.jsonl"
    }
    let evaluation = try #require(try train(options).evaluation)
    // A guess among three has a third and 1.10 nats, one by the last letter alone 1.03.
    #expect(evaluation.loss < 0.3 && evaluation.accuracy > 0.8 && evaluation.accuracy <= 1, "\(evaluation)")
    #expect(try abs(#require(evaluation.perplexity) - exp(evaluation.loss)) < 1e-12)
    #expect(try abs(#require(evaluation.bitsPerCharacter) - evaluation.loss / log(2)) < 1e-12)
    #expect(try SavedModel(directory.path + "/checkpoints", on: world).evaluate() == evaluation)
    if world.count == 1 {
      // What follows a prompt shorter than a window is told by its own last characters, not by the end of the window.
      var (written, surest) = ("", TextSampling())
      (surest.length, surest.temperature) = (5, 0)
      try SavedModel(directory.path + "/checkpoints", on: world).continueText("abacbc", by: surest) { written += $0 }
      #expect(written == "aabbc")
    }
    let lines = try metricsLines(options.metrics!)
    for event in ["epoch", "end"] {
      let line = try #require(lines.last { $0["event"] as? String == event })
      for (key, value) in [
        ("testPerplexity", evaluation.perplexity), ("testBitsPerCharacter", evaluation.bitsPerCharacter),
      ] {
        // JSON of Foundation reads the last digit in its own way.
        #expect(abs((line[key] as? Double ?? .nan) - (value ?? .nan)) < 1e-12, "\(line)")
      }
    }
    try world.barrier()
  }
}
