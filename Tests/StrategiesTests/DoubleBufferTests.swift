import Buffers
import Codecs
import Collectives
import Datasets
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Double buffering with half batches: its schedule, its delay, and that neither timing nor a resume changes a bit.
@Suite(.serialized) struct DoubleBufferTests {
  private func doubleBuffered(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.strategy = "double-buffer"
      change(&$0)
    }
  }

  @Test(
    .enabled(if: World.count == 1, "one rank alone is delayed descent"),
    arguments: [(50, 20), (49, 20), (1, 5), (2, 5), (330, 3)], [("one-bit", 0), ("none", 0), ("none", 0.01)])
  func oneRankIsDelayedDescentBitForBit(size: (minibatch: Int, steps: Int), how: (codec: String, decay: Double)) throws {
    let options = doubleBuffered {
      ($0.minibatch, $0.steps) = size
      ($0.codec, $0.weightDecay) = how
    }
    let expected = try PlainDelayedDescent.train(options)
    #expect(try train(options).modelHash == expected.hash())
    // The delay is there: plain descent ends elsewhere.
    var plain = options
    plain.strategy = "all-reduce"
    #expect(try train(plain).modelHash != expected.hash())
  }

  @Test func floatsOnManyRanksAreDelayedDescent() throws {
    let options = doubleBuffered { $0.codec = "none" }
    let expected = try PlainDelayedDescent.train(options)
    let (_, values) = try trainedModel(options)
    // Sums over ranks are rounded in another order.
    #expect(farthest(values, expected).distance < 1e-4)
  }

  /// What a step's gradient may be long at most, its halves share by their samples.
  @Test(arguments: [50, 49, 51]) func halvesShareTheNormThatGradientsAreClippedTo(minibatch: Int) throws {
    let options = doubleBuffered {
      ($0.codec, $0.clip, $0.minibatch) = ("none", 0.3, minibatch)
      $0.learningRate = 0.05
    }
    let expected = try PlainDelayedDescent.train(options)
    let (_, values) = try trainedModel(options)
    #expect(farthest(values, expected).distance < 1e-4)
    // With the whole norm for each half the model would be another one.
    let other = try PlainDelayedDescent.train(options, sharesClip: false)
    #expect((0..<values.count).contains { abs(other[$0] - expected[$0]) > 1e-2 })
  }

  @Test(arguments: ["one-bit", "one-bit:group=64", "none"].dealt())
  func whoCarriesTheExchangeChangesNoBit(codec: String) throws {
    var hashes: Set<UInt64> = []
    for overlap in [Overlap.off, .inline, .thread] {
      for transport in [Transport.auto, .messages] {
        hashes.insert(
          try train(
            doubleBuffered {
              $0.codec = codec
              $0.warmStart = 5
              $0.overlap = overlap
              $0.transport = transport
            }
          ).modelHash)
      }
    }
    #expect(hashes.count == 1)
    #expect(Set(try world.allGather(Array(hashes))).count == 1)
  }

  @Test(arguments: pairs(["one-bit", "none"], [nil, 0.3]).dealt())
  func anUnbrokenRunEqualsOneThatWasResumedWithAnExchangeInFlight(codec: String, clip: Double?) throws {
    let options = doubleBuffered {
      $0.codec = codec
      $0.clip = clip
      $0.warmStart = 3
    }
    let whole = try train(options)
    // After step 3 floats are in flight; after step 8 codes are.
    for steps in [3, 8] {
      let resumed = try trainBrokenOff(after: steps, options)
      #expect(resumed.modelHash == whole.modelHash)
      #expect(resumed.evaluation == whole.evaluation)
    }
  }

  @Test func aSkippedHalfChangesNothing() throws {
    // Both halves of the only step are skipped: the model is the start.
    let one = doubleBuffered {
      $0.steps = 1
      $0.injectNonFinite = "0:\(World.count - 1)"
    }
    let data = try datasets.make(one.data)(one.seed)
    let network = try models.make(one.model)(data.featureCount, data.classCount)
    let start = FloatBuffer(count: network.layout.count)
    network.initialize(start, seed: one.seed)
    #expect(try train(one).modelHash == start.hash())
    // In the midst of a run, what is in flight is applied all the same.
    var later = one
    (later.steps, later.injectNonFinite) = (6, "3:0")
    let hash = try train(later).modelHash
    #expect(hash != start.hash())
    #expect(try train(later).modelHash == hash)
  }

  @Test func trainingLearns() throws {
    let options = doubleBuffered {
      $0.steps = 200
      $0.warmStart = 50
      $0.learningRate = 0.02
    }
    let evaluation = try #require(try train(options).evaluation)
    #expect(evaluation.accuracy > 0.4 && evaluation.loss < 2, "\(evaluation)")
  }

  @Test func aRateThatIsTooHighEndsTheRunOnAllRanksWithNothingInFlight() throws {
    // Ten steps, of two halves each.
    #expect { try train(doubleBuffered { $0.learningRate = 1e30 }) } throws: {
      "\($0)".contains("step 11:") && "\($0)".contains("10 steps in a row") && "\($0)".contains("lower --learning-rate")
    }
  }
}
