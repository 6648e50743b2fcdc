import Buffers
import Networks
import Testing

/// A network split over slices computes what the whole one computes.
@Suite(.serialized) struct SlicedPerceptronTests {
  /// What a slice found in a pass forward and back and one forward.
  private struct Found {
    let start: FloatBuffer
    let gradient: FloatBuffer
    let result: BatchResult
    let evaluation: BatchResult
    let logPosteriors: FloatBuffer
    let ready: [Int]
    let valuesSent: Int
    let predictedBytesSent: Int
    let slices: SlicedLayout
  }

  private static let cases = [
    ("softmax", 7, 33), ("softmax", 5, 1), ("mlp:1", 1, 2), ("mlp:2,3", 4, 3), ("mlp:33,7", 7, 10),
    ("mlp:7,2,33,activation=sigmoid", 33, 10), ("mlp:16,17,15,activation=sigmoid,start=he", 15, 16),
    ("mlp:3x9,start=glorot", 4, 5), ("mlp:130,65", 100, 33),
  ]

  /// Two minibatches, the larger one last, through a slice each.
  private func run(
    _ model: String, inputs: Int, classes: Int, slices: Int, small: Minibatch, large: Minibatch
  ) throws -> [Found] {
    try ThreadedSlices(count: slices).run { exchange in
      let network = try #require(try models.make(model)(inputs, classes).sliced(over: exchange))
      let parameters = FloatBuffer(count: network.layout.count)
      let gradient = FloatBuffer(count: network.layout.count)
      network.initialize(parameters, seed: 3)
      _ = try network.evaluate(small, parameters: parameters, logPosteriors: nil)
      _ = try network.gradient(of: small, parameters: parameters, scale: 1, into: gradient) { _ in }
      for index in 0..<gradient.count { gradient[index] = .nan }
      var ready: [Int] = []
      let result = try network.gradient(of: large, parameters: parameters, scale: 0.25, into: gradient) { ready.append($0) }
      let logPosteriors = FloatBuffer(count: large.count * classes)
      let evaluation = try network.evaluate(large, parameters: parameters, logPosteriors: logPosteriors)
      return Found(
        start: parameters, gradient: gradient, result: result, evaluation: evaluation, logPosteriors: logPosteriors,
        ready: ready, valuesSent: exchange.valuesSent, predictedBytesSent: network.predictedBytesSent,
        slices: network.slices)
    }
  }

  @Test(arguments: cases, [1, 2, 3, 5]) func slicesTogetherAreTheWhole(
    _ model: (name: String, inputs: Int, classes: Int), _ sliceCount: Int
  ) throws {
    setProductThreads(1)
    let small = Minibatch.random(count: 3, featureCount: model.inputs, classCount: model.classes, spare: 1)
    let large = Minibatch.random(count: 17, featureCount: model.inputs, classCount: model.classes, spare: 2, seed: 5)
    let whole = try Started(model.name, inputs: model.inputs, classes: model.classes, seed: 3)
    let result = try whole.run(large, scale: 0.25)
    let logPosteriors = FloatBuffer(count: 17 * model.classes)
    _ = try whole.network.evaluate(large, parameters: whole.parameters, logPosteriors: logPosteriors)
    let found = try run(
      model.name, inputs: model.inputs, classes: model.classes, slices: sliceCount, small: small, large: large)

    var seen = Array(repeating: 0, count: whole.parameters.count)
    for (slice, it) in found.enumerated() {
      #expect(it.ready == Array(whole.network.layout.tensors.indices))
      // All slices have the same loss; it is the whole network's but for the order of sums.
      #expect(it.result == found[0].result && it.evaluation == it.result)
      #expect(abs(it.result.lossSum - result.lossSum) <= 1e-5 * result.lossSum)
      #expect(it.logPosteriors.hash() == found[0].logPosteriors.hash())
      for index in 0..<logPosteriors.count { #expect(abs(it.logPosteriors[index] - logPosteriors[index]) <= 1e-5) }
      #expect(it.predictedBytesSent == 4 * it.valuesSent)
      let layout = it.slices.layout(of: slice)
      for (tensor, (own, place)) in zip(whole.network.layout.tensors, zip(layout.tensors, it.slices.places(in: slice))) {
        #expect(own.name == tensor.name && own.count == place.count)
        let largest = tensor.range.reduce(1e-3) { max($0, abs(whole.gradient[$1])) }
        for offset in 0..<place.count {
          let (index, wholeIndex) = (own.range.lowerBound + offset, place.lowerBound + offset)
          seen[wholeIndex] += 1
          #expect(it.start[index].bitPattern == whole.parameters[wholeIndex].bitPattern)
          #expect(abs(it.gradient[index] - whole.gradient[wholeIndex]) <= 1e-5 * largest)
        }
      }
    }
    // Every value belongs to one slice.
    #expect(seen.allSatisfy { $0 == 1 })
    if sliceCount == 1 { #expect(found[0].gradient.hash() == whole.gradient.hash() && found[0].result == result) }
  }

  /// What the slices of a layer contribute to the gradient below is added in their order, to the last bit.
  ///
  /// With one sample and one class for each of three slices, a contribution is one product, and a unit that is on passes the sum on to
  /// the gradient of its bias.
  @Test func contributionsAreAddedInTheOrderOfTheSlices() throws {
    var differing = 0
    for seed in 0..<20 {
      let batch = Minibatch.random(count: 1, featureCount: 9, classCount: 3, seed: UInt64(seed))
      let found = try run("mlp:12", inputs: 9, classes: 3, slices: 3, small: batch, large: batch)
      let whole = try Started("mlp:12", inputs: 9, classes: 3, seed: 3)
      var gradient = [Float](repeating: 0, count: whole.parameters.count)
      for (slice, it) in found.enumerated() {
        for (own, place) in zip(it.slices.layout(of: slice).tensors, it.slices.places(in: slice)) {
          for offset in 0..<place.count { gradient[place.lowerBound + offset] = it.gradient[own.range.lowerBound + offset] }
        }
      }
      func range(_ name: String) -> Range<Int> { whole.network.layout.tensors.first { $0.name == name }!.range }
      let (weights, deltas, biases) = (
        range("layers.2.weight"), gradient[range("layers.2.bias")].map { $0 }, range("layers.1.bias")
      )
      for unit in 0..<12 {
        let terms = (0..<3).map { deltas[$0] * whole.parameters[weights.lowerBound + 12 * $0 + unit] }
        let sum = (terms[0] + terms[1]) + terms[2]
        let value = gradient[biases.lowerBound + unit]
        #expect(value == sum || value == 0)
        if value != 0 && sum != terms[0] + (terms[1] + terms[2]) { differing += 1 }
      }
    }
    // In another order many would be rounded in another way.
    #expect(differing > 10)
  }

  /// B·n·4·(P − 1)/P bytes for each layer forward, and for each layer but the lowest back.
  @Test func bytesAreThoseOfTheFormula() throws {
    let small = Minibatch.random(count: 5, featureCount: 9, classCount: 12)
    let large = Minibatch.random(count: 8, featureCount: 9, classCount: 12)
    let found = try run("mlp:16,24", inputs: 9, classes: 12, slices: 4, small: small, large: large)
    let (forward, backward) = (2 * (5 + 8) * (16 + 24 + 12), (5 + 8) * (16 + 24))
    for it in found { #expect(it.predictedBytesSent == (forward + backward) * 4 * 3 / 4) }
  }

  @Test func noSamplesHaveZeroGradient() throws {
    let hashes = try ThreadedSlices(count: 2).run { exchange in
      let network = try #require(try models.make("mlp:7,2")(5, 3).sliced(over: exchange))
      let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
      for index in 0..<gradient.count { gradient[index] = .nan }
      let batch = Minibatch(capacity: 4, featureCount: 5)
      let result = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
      let evaluation = try network.evaluate(batch, parameters: parameters, logPosteriors: nil)
      return result == BatchResult() && evaluation == BatchResult() && gradient.hash() == parameters.hash()
    }
    #expect(hashes == [true, true])
  }
}
