import Buffers
import Codecs
import Collectives
import Datasets
import Foundation
import MPI
import Networks
import Testing
import Trainer
import _TestSupport

/// Double buffering with half batches: its schedule, its delay, and that neither timing nor a resume changes a bit.
@Suite(.serialized) struct DoubleBufferTests {
  private func doubleBuffered(_ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.strategy = "double-buffer"
      change(&$0)
    }
  }

  /// Delayed descent in a few plain lines: the gradient of a half is applied after the next half was computed.
  private func delayedDescent(_ options: TrainerOptions) throws -> FloatBuffer {
    let data = try datasets.make(options.data)(options.seed)
    let network = try models.make(options.model)(data.featureCount, data.classCount)
    let weights = FloatBuffer(count: network.layout.count)
    network.initialize(weights, seed: options.seed)
    var velocity = [Float](repeating: 0, count: weights.count)
    let order = SampleOrder(count: data.count(.train), seed: options.seed)
    let perEpoch = (data.count(.train) + options.minibatch - 1) / options.minibatch
    var waiting: (gradient: FloatBuffer, rate: Float, share: Float)?
    func applyWaiting() {
      guard let (gradient, rate, share) = waiting else { return }
      let decay = share * Float(options.weightDecay)
      for i in 0..<weights.count {
        velocity[i] = Float(options.momentum) * velocity[i] + (gradient[i] + decay * weights[i])
        weights[i] = weights[i] - rate * velocity[i]
      }
      waiting = nil
    }
    for step in 0..<options.steps! {
      let epoch = order.epoch(step / perEpoch)
      let samples = Array(epoch.dropFirst(step % perEpoch * options.minibatch).prefix(options.minibatch))
      let middle = (samples.count + 1) / 2
      let rate = Float(options.learningRate * (1 + cos(Double.pi * Double(step) / Double(options.steps!))) / 2)
      for half in [samples[..<middle], samples[middle...]] where !half.isEmpty {
        let batch = Minibatch(capacity: half.count, featureCount: data.featureCount)
        data.load(half, of: .train, into: batch)
        let gradient = FloatBuffer(count: weights.count)
        _ = try network.gradient(of: batch, parameters: weights, scale: 1 / Float(samples.count), into: gradient) { _ in }
        applyWaiting()
        waiting = (gradient, rate, Float(half.count) / Float(samples.count))
      }
    }
    applyWaiting()
    return weights
  }

  private func model(of options: TrainerOptions) throws -> (hash: UInt64, values: FloatBuffer) {
    let directory = try TemporaryDirectory(on: world)
    var options = options
    options.output = directory.path + "/model.safetensors"
    let outcome = try train(options)
    let reader = try SafetensorsReader(options.output!)
    let values = FloatBuffer(count: reader.entries.reduce(0) { $0 + $1.shape.reduce(1, *) })
    var start = 0
    for entry in reader.entries {
      let count = entry.shape.reduce(1, *)
      try reader.read(entry, into: values.values(in: start..<start + count))
      start += count
    }
    // The directory goes with rank 0's object.
    try world.barrier()
    return (outcome.modelHash, values)
  }

  @Test(
    .enabled(if: World.count == 1, "one rank alone is delayed descent"),
    arguments: [(50, 20), (49, 20), (1, 5), (2, 5), (330, 3)], [("one-bit", 0), ("none", 0), ("none", 0.01)])
  func oneRankIsDelayedDescentBitForBit(size: (minibatch: Int, steps: Int), how: (codec: String, decay: Double)) throws {
    let options = doubleBuffered {
      ($0.minibatch, $0.steps) = size
      ($0.codec, $0.weightDecay) = how
    }
    let expected = try delayedDescent(options)
    #expect(try train(options).modelHash == expected.hash())
    // The delay is there: plain descent ends elsewhere.
    var plain = options
    plain.strategy = "all-reduce"
    #expect(try train(plain).modelHash != expected.hash())
  }

  @Test func floatsOnManyRanksAreDelayedDescent() throws {
    let options = doubleBuffered { $0.codec = "none" }
    let expected = try delayedDescent(options)
    let (_, values) = try model(of: options)
    // Sums over ranks are rounded in another order.
    for i in 0..<values.count { #expect(abs(values[i] - expected[i]) < 1e-4) }
  }

  @Test(arguments: ["one-bit", "one-bit:group=64", "none"])
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

  @Test(arguments: ["one-bit", "none"], [nil, 0.3])
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
