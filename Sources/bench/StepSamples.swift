internal import Buffers
internal import Datasets
internal import Networks
internal import PointToPoint
internal import Reporting
internal import Strategies
import Transport

/// Steps of a strategy on constant samples.
final class Steps {
  private let strategy: any Strategy
  private let loader: BatchLoader
  /// The steps of a rank between exchanges.
  private let roundLength: Int
  private var stepCount = 0

  /// Steps of a strategy made from `parts`.
  init(_ strategy: any Strategy, _ parts: StrategyParts, _ samples: RandomSamples, roundLength: Int = 1) {
    (self.strategy, self.roundLength) = (strategy, roundLength)
    // All ranks of a share have the same samples, including those without others to exchange with.
    loader = BatchLoader(samples, plan: parts.plan, seed: 1, rank: parts.grid.share, of: parts.grid.shareCount)
  }

  /// Seconds so far, by phase.
  var times: PhaseTimes {
    var times = strategy.times
    times.data = loader.seconds
    return times
  }

  /// Does a step, or all those between two exchanges.
  func step() throws { try advance(by: roundLength) }

  /// Does `count` steps, with meetings only where the strategy needs them.
  func advance(by count: Int) throws {
    let end = stepCount + count
    let course = Course(loader: loader, rate: { _ in 0.001 }, isMeasured: { _ in false })
    while stepCount < end { stepCount += try strategy.advance(from: stepCount, to: end, on: course).stepCount }
  }

  /// What this rank did as an owner up to the last meeting.
  var service: ServiceRecord? { strategy.service }

  /// Does a step, so that work that continues from step to step is in flight.
  func prime() throws { try step() }

  /// Completes the work in flight.
  func drain() throws { _ = try strategy.drain() }

  func abandon() { strategy.abandon() }

  /// This rank's samples of a step, or of one of its parts.
  func batch(of parts: Int) -> Minibatch { loader.batch(at: 0, part: 0, of: parts) }
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
