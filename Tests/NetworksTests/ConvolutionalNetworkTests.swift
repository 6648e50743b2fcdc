import Buffers
import Foundation
import Networks
import Testing

@Suite struct ConvolutionalNetworkTests {
  private static let image = SampleShape(height: 28, width: 28, channels: 1)

  private func started(_ model: String = "cnn:5,18,33") throws -> Started {
    try Started(model, inputs: 784, classes: 10, image: Self.image)
  }

  @Test func tensorsLieInBackwardOrder() throws {
    let network = try models.make("cnn")(784, 10, image: Self.image)
    #expect(network.layout.tensors.map(\.name) == (1...4).reversed().flatMap { ["layers.\($0).weight", "layers.\($0).bias"] })
    let shapes = [[10, 500], [10], [500, 800], [500], [50, 20, 5, 5], [50], [20, 1, 5, 5], [20]]
    #expect(network.layout.tensors.map(\.shape) == shapes)
    // A row is a filter: all that one output unit reads.
    #expect(network.layout.tensors.map(\.rowLength) == [500, 10, 800, 500, 500, 50, 25, 20])
    #expect(network.layout.count == 431_080)
    #expect(network.inputCount == 784 && network.classCount == 10)
  }

  @Test func samplesThatAreNoImagesAreRefused() throws {
    let error = #expect(throws: SpecificationError.self) { try models.make("cnn")(490, 10) }
    #expect(
      error?.description == "'cnn' reads images, and samples of 490 values without height and width are none; mlp takes any")
    let small = SampleShape(height: 4, width: 4, channels: 1)
    let refusal = #expect(throws: SpecificationError.self) { try models.make("cnn:3,7")(16, 10, image: small) }
    #expect(refusal?.description == "'cnn:3,7' on images of 4×4×1: convolution 5×5 does not fit on 4×4")
    let huge = #expect(throws: SpecificationError.self) { try models.make("cnn:65536,65536,9")(784, 10, image: Self.image) }
    #expect(huge?.description.contains("107385389165 parameters; at most 2147483648") == true, "\(huge?.description ?? "")")
  }

  /// The start has the bounds of its fan-in, which is a filter's values, and stored bits.
  @Test func startFollowsTheCounter() throws {
    let started = try started()
    let random = Philox(seed: 1, purpose: .initialization)
    for (name, tensor, fanIn) in [
      ("layers.1.weight", 6, 25), ("layers.2.weight", 4, 125), ("layers.2.bias", 5, 125), ("layers.3.weight", 2, 288),
    ] {
      let range = try #require(started.network.layout[name]).range
      let bound = 1 / Float(fanIn).squareRoot()
      for element in 0..<range.count {
        let expected = (2 * random.uniform(element, tensor: tensor) - 1) * bound
        #expect(started.parameters[range.lowerBound + element] == expected)
      }
    }
  }

  /// A real minibatch against the sum over its parts: the same within rounding, also for sizes whose code has yet to be made.
  @Test(arguments: ["cnn:5,18,33", "cnn:20,50,500,activation=sigmoid,start=glorot"])
  func sumOverSamplesIsTheGradientOfAll(_ model: String) throws {
    let started = try started(model)
    let batch = Minibatch.random(count: 24, featureCount: 784, classCount: 10)
    let whole = try started.run(batch, scale: 1 / 24)
    let gradient = started.gradient.doubles
    for cuts in [[0, 12, 24], [0, 1, 24], [0, 1, 2, 3, 5, 8, 13, 14, 15, 16, 18, 24]] {
      var sum = [Double](repeating: 0, count: gradient.count)
      var total = BatchResult()
      for (start, end) in zip(cuts, cuts.dropFirst()) {
        let result = try started.run(batch.part(start..<end), scale: 1 / 24)
        for index in sum.indices { sum[index] += Double(started.gradient[index]) }
        total.lossSum += result.lossSum
        total.correct += result.correct
      }
      #expect(total.correct == whole.correct && abs(total.lossSum - whole.lossSum) < 1e-4)
      for tensor in started.network.layout.tensors {
        let largest = tensor.range.reduce(0) { max($0, abs(gradient[$1])) }
        #expect(tensor.range.allSatisfy { abs(sum[$0] - gradient[$0]) <= 1e-5 * largest })
      }
    }
  }

  @Test func noSamplesHaveZeroGradient() throws {
    let started = try started()
    let batch = Minibatch(capacity: 4, featureCount: 784)
    var order: [Int] = []
    let result = try started.network.gradient(
      of: batch, parameters: started.parameters, scale: 1, into: started.gradient
    ) { order.append($0) }
    #expect(result == BatchResult() && order == Array(0..<8))
    #expect((0..<started.gradient.count).allSatisfy { started.gradient[$0].bitPattern == 0 })
  }

  /// `ready` names each tensor once, in the order of the layout, when its values are what they are at the end; between layers the
  /// caller has its turn.
  @Test func tensorsAreFinalWhenTheyAreReady() throws {
    let started = try started()
    let batch = Minibatch.random(count: 6, featureCount: 784, classCount: 10)
    let layout = started.network.layout
    var hashes: [(tensor: Int, hash: UInt64)] = []
    var turns = 0
    started.network.betweenLayers = { turns += 1 }
    _ = try started.network.gradient(of: batch, parameters: started.parameters, scale: 1, into: started.gradient) { tensor in
      hashes.append((tensor, started.gradient.hash(in: layout.tensors[tensor].range)))
    }
    #expect(hashes.map(\.tensor) == Array(layout.tensors.indices))
    for (tensor, hash) in hashes { #expect(hash == started.gradient.hash(in: layout.tensors[tensor].range)) }
    #expect(turns >= 16)
  }

  /// The same inputs give the same bits: again, in other memory, after larger minibatches, and in a thread for which nothing was set.
  @Test func gradientRepeatsBitForBit() throws {
    setProductThreads(1)
    let small = Minibatch.random(count: 5, featureCount: 784, classCount: 10, spare: 11)
    let large = Minibatch.random(count: 40, featureCount: 784, classCount: 10, seed: 2)
    func hashes() throws -> [UInt64] {
      let started = try started()
      return try [small, large, small].map {
        try started.run($0)
        return started.gradient.hash()
      }
    }
    let expected = try hashes()
    #expect(expected[0] == expected[2] && expected[0] != expected[1])
    #expect(try hashes() == expected)
    final class Found: @unchecked Sendable { var hashes: [UInt64] = [] }
    let (found, done) = (Found(), DispatchSemaphore(value: 0))
    nonisolated(unsafe) let compute = hashes
    let thread = Thread {
      found.hashes = (try? compute()) ?? []
      done.signal()
    }
    thread.stackSize = 8 << 20
    thread.start()
    done.wait()
    #expect(found.hashes == expected)
  }

  /// Code for more sizes of minibatches than are kept is made again.
  @Test func manySizesOfMinibatchesTakeTurns() throws {
    let started = try started()
    let batch = Minibatch.random(count: 12, featureCount: 784, classCount: 10)
    let first = try (1...12).map { try started.run(batch.part(0..<$0)) }
    #expect(try (1...12).map { try started.run(batch.part(0..<$0)) } == first)
  }

  @Test(arguments: [
    ("cnn:500", "such as cnn:20,50,500"), ("cnn:0,5", "1 to 65536"), ("cnn:20,5x5", "cnn:20,50,500"), ("cnn:20,", "1 to 65536"),
    ("cnn:20,50,padding=3", "activation, start"), ("cnn:20,50,activation=softplus", "relu, sigmoid"),
    ("cn", "did you mean 'cnn'"),
  ]) func mistakesAreNamed(_ text: String, _ part: String) {
    let error = #expect(throws: SpecificationError.self) { try models.make(text) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "no error")")
  }
}
