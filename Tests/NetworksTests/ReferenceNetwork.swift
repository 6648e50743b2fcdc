import Buffers
import Foundation
import Networks

/// The same models in plain fp64, one sample at a time, written without a look at the product's code.
struct ReferenceNetwork {
  let sizes: [Int]
  let usesSigmoid: Bool

  /// −log p(label) of one sample; `parameters` lie output layer first, weights before biases.
  func logPosteriors(of sample: [Double], parameters: [Double]) -> [Double] {
    var values = sample
    for layer in 1..<sizes.count {
      let (inputCount, outputCount) = (sizes[layer - 1], sizes[layer])
      let weights = (layer + 1..<sizes.count).reduce(0) { (sum: Int, next: Int) -> Int in
        sum + sizes[next] * (sizes[next - 1] + 1)
      }
      let biases = weights + outputCount * inputCount
      values = (0..<outputCount).map { output in
        var sum = parameters[biases + output]
        for input in 0..<inputCount { sum += parameters[weights + output * inputCount + input] * values[input] }
        guard layer < sizes.count - 1 else { return sum }
        return usesSigmoid ? 1 / (1 + exp(-sum)) : max(0, sum)
      }
    }
    let maximum = values.max()!
    let logSum = maximum + log(values.reduce(0) { $0 + exp($1 - maximum) })
    return values.map { $0 - logSum }
  }

  /// Σ −log p(label) over a minibatch.
  func loss(of batch: Minibatch, parameters: [Double]) -> Double {
    (0..<batch.count).reduce(0) { sum, row in
      sum - logPosteriors(of: batch.sample(row), parameters: parameters)[Int(batch.labels[row])]
    }
  }

  /// The gradient of ``loss(of:parameters:)`` by central differences.
  ///
  /// With a step h = 1e-5 the truncation error h²/6·f‴ is near 1e-10, the rounding error 1e-16/h·f near 1e-10: both far below
  /// what fp32 rounds.
  func gradient(of batch: Minibatch, parameters: [Double]) -> [Double] {
    let step = 1e-5
    return parameters.indices.map { index in
      var moved = parameters
      moved[index] = parameters[index] + step
      let above = loss(of: batch, parameters: moved)
      moved[index] = parameters[index] - step
      return (above - loss(of: batch, parameters: moved)) / (2 * step)
    }
  }
}

extension Minibatch {
  /// The values of one sample.
  func sample(_ row: Int) -> [Double] {
    (0..<featureCount).map { Double(inputs[row * featureCount + $0]) }
  }

  /// Random inputs in [−2, 2), or of `tokenCount` tokens, and labels; room for `spare` samples more, whose values are poison.
  static func random(
    count: Int, featureCount: Int, classCount: Int, targetCount: Int = 1, tokenCount: Int? = nil, spare: Int = 0,
    seed: UInt64 = 1
  ) -> Minibatch {
    let batch = Minibatch(capacity: count + spare, featureCount: featureCount, targetCount: targetCount)
    let random = Philox(seed: seed, purpose: .tests)
    for index in 0..<count * featureCount {
      batch.inputs[index] = tokenCount.map { Float(Int(random.word(index)) % $0) } ?? (4 * random.uniform(index) - 2)
    }
    for index in count * featureCount..<batch.inputs.count { batch.inputs[index] = .nan }
    for row in 0..<count * targetCount { batch.labels[row] = Int32(random.word(row, tensor: 1) % UInt32(classCount)) }
    batch.count = count
    return batch
  }

  /// The samples in `rows` alone.
  func part(_ rows: Range<Int>) -> Minibatch {
    let part = Minibatch(capacity: rows.count, featureCount: featureCount, targetCount: targetCount)
    part.labels = Array(labels[rows.lowerBound * targetCount..<rows.upperBound * targetCount])
    for (target, row) in rows.enumerated() {
      for feature in 0..<featureCount {
        part.inputs[target * featureCount + feature] = inputs[row * featureCount + feature]
      }
    }
    part.count = rows.count
    return part
  }
}

extension FloatBuffer {
  /// The values, widened.
  var doubles: [Double] { (0..<count).map { Double(self[$0]) } }
}

/// A network with its parameters at the start of `seed`, and room for a gradient that holds poison.
struct Started {
  let network: any Network
  let parameters: FloatBuffer
  let gradient: FloatBuffer

  init(_ specification: String, inputs: Int, classes: Int, image: SampleShape? = nil, seed: UInt64 = 1) throws {
    network = try models.make(specification)(inputs, classes, image: image)
    parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: seed)
    gradient = FloatBuffer(count: network.layout.count)
    for index in 0..<gradient.count { gradient[index] = .nan }
  }

  /// The gradient of a minibatch, in this value's buffer.
  @discardableResult
  func run(_ batch: Minibatch, scale: Float = 1) throws -> BatchResult {
    try network.gradient(of: batch, parameters: parameters, scale: scale, into: gradient) { _ in }
  }
}
