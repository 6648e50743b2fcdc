internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Networks

/// Training steps of one rank on samples that stay the same, with the time of each part.
final class StepBenchmark {
  /// Seconds of one step.
  struct Times {
    /// All of it.
    var step = 0.0
    /// Forward and backward.
    var compute = 0.0
    /// Encoding, sending, decoding and waiting.
    var exchange = 0.0
    /// Moving the parameters.
    var update = 0.0
  }

  /// Of the steps run so far, on this rank.
  var times: [Times] = []
  private let network: any Network
  private let batch: Minibatch
  private let minibatch: Int
  private let parameters: FloatBuffer
  private let momenta: FloatBuffer
  private let gradient: SharedGradient
  private let exchange: GradientExchange
  private let world: Communicator
  private let descent = DescentStep(rate: 0.001, momentum: 0.9)
  private var stepCount = 0

  /// Prepares this rank's share of the samples.
  ///
  /// Collective.
  init(network: any Network, codec: any Codec, minibatch: Int, world: Communicator) throws {
    self.network = network
    self.minibatch = minibatch
    self.world = world
    parameters = FloatBuffer(count: network.layout.count)
    momenta = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 1)
    gradient = try SharedGradient(count: network.layout.count, hosts: HostMap(world))
    exchange = try GradientExchange(codec, layout: network.layout, gradient: gradient)
    let share = Partition(count: minibatch, into: world.count)[world.rank]
    batch = Minibatch(capacity: share.count, featureCount: network.inputCount)
    batch.count = share.count
    let random = Philox(seed: 1, purpose: .tests, stream: world.rank)
    // Uniform in ±√3: mean 0 and variance 1, as standardised inputs have.
    for index in 0..<batch.inputs.count { batch.inputs[index] = (2 * random.uniform(index) - 1) * Float(3).squareRoot() }
    for row in 0..<share.count { batch.labels[row] = Int32(random.word(row, tensor: 1) % UInt32(network.classCount)) }
  }

  /// The sizes of the layers, from the inputs to the classes.
  var sizes: [Int] {
    [network.inputCount] + network.layout.tensors.reversed().filter { $0.shape.count == 2 }.map { $0.shape[0] }
  }

  /// Runs whole steps.
  ///
  /// Collective.
  func run(steps: Int) throws {
    for _ in 0..<steps {
      var own = Times()
      own.step = try seconds {
        own.compute = try seconds {
          _ = try network.gradient(
            of: batch, parameters: parameters, scale: 1 / Float(minibatch), into: gradient.values
          ) { _ in }
        }
        let exchangeAndUpdate = try seconds {
          try exchange.run(
            step: stepCount, samples: minibatch,
            into: .update { range, sum in
              own.update += seconds {
                sgdUpdate(
                  weights: self.parameters.baseAddress + range.lowerBound, gradient: sum,
                  momenta: self.momenta.baseAddress + range.lowerBound, count: range.count, step: self.descent)
              }
            })
        }
        own.exchange = exchangeAndUpdate - own.update
      }
      stepCount += 1
      times.append(own)
    }
  }

  /// The median of the seconds that the forward pass alone takes on this rank.
  func forwardSeconds(repetitions: Int) throws -> Double {
    try (0..<repetitions).map { _ in try seconds { _ = try network.evaluate(batch, parameters: parameters, logPosteriors: nil) }
    }
    .percentile()
  }

  /// The times of each step, every part that of the rank which took longest for it.
  ///
  /// Collective.
  func slowestTimes() throws -> [Times] {
    var values = times.flatMap { [$0.step, $0.compute, $0.exchange, $0.update] }
    try world.allReduce(&values, .max)
    return stride(from: 0, to: values.count, by: 4).map {
      Times(step: values[$0], compute: values[$0 + 1], exchange: values[$0 + 2], update: values[$0 + 3])
    }
  }
}
