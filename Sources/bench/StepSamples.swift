internal import Buffers
internal import Collectives
internal import Datasets
internal import Networks
internal import Reporting
internal import Trainer
import Transport

/// Steps of a strategy on constant samples.
final class Steps {
  private let strategy: any Strategy
  private let loader: BatchLoader
  private var stepCount = 0

  /// Steps of a strategy made from `parts`.
  init(_ strategy: any Strategy, _ parts: StrategyParts, _ samples: RandomSamples) {
    self.strategy = strategy
    // All ranks of a share have the same samples, including those without others to exchange with.
    loader = BatchLoader(samples, plan: parts.plan, seed: 1, rank: parts.grid.share, of: parts.grid.shareCount)
  }

  /// Seconds so far, by phase.
  var times: PhaseTimes {
    var times = strategy.times
    times.data = loader.seconds
    return times
  }

  func step() throws {
    _ = try strategy.step(stepCount, from: loader, rate: 0.001, isMeasured: false)
    stepCount += 1
  }

  /// Does a step, so that work that continues from step to step is in flight.
  func prime() throws { try step() }

  /// Completes the work in flight.
  func drain() throws { _ = try strategy.drain() }

  func abandon() { strategy.abandon() }

  /// This rank's samples of a step, or of one of its parts.
  func batch(of parts: Int) -> Minibatch { loader.batch(at: 0, part: 0, of: parts) }
}

/// Random samples with random labels: a minibatch that repeats.
final class RandomSamples: Dataset {
  let specification = "random"
  let featureCount: Int
  let classCount: Int
  let fingerprint: UInt64 = 0
  private let sampleCount: Int
  private let random: Philox

  /// Samples for one step, `count` in number.
  init(count: Int, featureCount: Int, classCount: Int) {
    let random = Philox(seed: 1, purpose: .tests)
    (sampleCount, self.featureCount, self.classCount, self.random) = (count, featureCount, classCount, random)
    inputs = (0..<count * featureCount).map { (2 * random.uniform($0) - 1) * Float(3).squareRoot() }
  }

  /// Uniform in ±√3: mean 0 and variance 1, as for standardised inputs.
  private let inputs: [Float]

  func count(_ split: Split) -> Int { sampleCount }

  func label(_ index: Int, of split: Split) -> Int { Int(random.word(index, tensor: 1) % UInt32(classCount)) }

  func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    self.inputs.withUnsafeBufferPointer { all in
      inputs.update(from: all.baseAddress! + index * featureCount, count: featureCount)
    }
    labels[0] = Int32(label(index, of: split))
  }
}

/// A network that sleeps as long as it would compute; it leaves the values in a gradient as they were.
final class EmulatedNetwork: Network {
  private let network: any Network
  private let emulation: EmulatedCompute
  private var isFilled: Set<ObjectIdentifier> = []

  init(_ network: any Network, _ emulation: EmulatedCompute) { (self.network, self.emulation) = (network, emulation) }

  var layout: TensorLayout { network.layout }
  var inputCount: Int { network.inputCount }
  var classCount: Int { network.classCount }
  var targetCount: Int { network.targetCount }
  var betweenLayers: (() -> Void)?

  func initialize(_ parameters: FloatBuffer, seed: UInt64) { network.initialize(parameters, seed: seed) }

  func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) throws -> BatchResult {
    // Encoding random values costs the same as encoding gradients.
    if isFilled.insert(ObjectIdentifier(gradient)).inserted {
      let random = Philox(seed: 1, purpose: .tests, stream: 1)
      for index in 0..<gradient.count { gradient[index] = random.uniform(index, tensor: isFilled.count) - 0.5 }
    }
    try emulation.run(betweenLayers: betweenLayers, ready: ready)
    return BatchResult(count: batch.count)
  }

  func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer?) throws -> BatchResult {
    try network.evaluate(batch, parameters: parameters, logPosteriors: logPosteriors)
  }
}
