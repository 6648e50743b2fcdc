import Buffers
import Networks
import Testing

/// A model, its sizes from the input to the classes, and the number of samples.
struct GradientCase: CustomTestStringConvertible, Sendable {
  let model: String
  let sizes: [Int]
  let count: Int
  var testDescription: String { "\(model) \(sizes) × \(count)" }
}

/// Every combination of awkward widths with one sample or a few, for both activations.
private let cases: [GradientCase] =
  [
    GradientCase(model: "softmax", sizes: [1, 2], count: 1),
    GradientCase(model: "softmax", sizes: [7, 33], count: 3),
    GradientCase(model: "softmax:start=glorot", sizes: [33, 7], count: 3),
    GradientCase(model: "softmax", sizes: [16, 16], count: 17),
    GradientCase(model: "softmax", sizes: [5, 1], count: 2),
  ]
  + ["relu", "sigmoid"].flatMap { activation in
    [
      GradientCase(model: "mlp:1,activation=\(activation)", sizes: [1, 1, 2], count: 1),
      GradientCase(model: "mlp:2,activation=\(activation),start=glorot", sizes: [2, 2, 7], count: 3),
      GradientCase(model: "mlp:33,7,activation=\(activation)", sizes: [7, 33, 7, 3], count: 3),
      GradientCase(model: "mlp:7,2,33,activation=\(activation)", sizes: [33, 7, 2, 33, 10], count: 1),
      GradientCase(model: "mlp:16,17,15,activation=\(activation),start=he", sizes: [15, 16, 17, 15, 16], count: 5),
      GradientCase(model: "mlp:3x9,activation=\(activation)", sizes: [4, 9, 9, 9, 5], count: 33),
    ]
  }

@Suite struct GradientTests {
  /// The gradient is that of the loss, by central differences of an independent model in fp64.
  ///
  /// An element is a sum of products over samples and layers: some hundred roundings of 2⁻²⁴ = 6e-8 of the largest element,
  /// of random sign. 5e-6 of it allows for that (1e-6 is what happens), and is far below what any wrong term would make.
  @Test(arguments: cases) func gradientMatchesFiniteDifferences(_ it: GradientCase) throws {
    let started = try Started(it.model, inputs: it.sizes.first!, classes: it.sizes.last!)
    let batch = Minibatch.random(count: it.count, featureCount: it.sizes.first!, classCount: it.sizes.last!, spare: 2)
    let scale: Float = 0.125
    let result = try started.run(batch, scale: scale)

    let reference = ReferenceNetwork(sizes: it.sizes, usesSigmoid: it.model.contains("sigmoid"))
    let parameters = started.parameters.doubles
    #expect(result.count == it.count)
    #expect(abs(result.lossSum - reference.loss(of: batch, parameters: parameters)) <= 1e-5 * Double(it.count))

    let expected = reference.gradient(of: batch, parameters: parameters).map { $0 * Double(scale) }
    for tensor in started.network.layout.tensors {
      let largest = tensor.range.reduce(1e-3) { max($0, abs(expected[$1])) }
      for index in tensor.range where abs(Double(started.gradient[index]) - expected[index]) > 5e-6 * largest {
        Issue.record("\(tensor.name)[\(index - tensor.range.lowerBound)] is \(started.gradient[index]), not \(expected[index])")
      }
    }
  }

  /// Wide layers and a real minibatch, against the sum over samples one by one: the same within rounding.
  @Test(arguments: ["softmax", "mlp:130,65", "mlp:130,65,activation=sigmoid"])
  func sumOverSamplesIsTheGradientOfAll(_ model: String) throws {
    let started = try Started(model, inputs: 100, classes: 33)
    let batch = Minibatch.random(count: 64, featureCount: 100, classCount: 33)
    let whole = try started.run(batch, scale: 1 / 64)
    let gradient = started.gradient.doubles
    for cuts in [[0, 32, 64], [0, 1, 64], Array(0...64)] {
      var sum = [Double](repeating: 0, count: gradient.count)
      var total = BatchResult()
      for (start, end) in zip(cuts, cuts.dropFirst()) {
        let result = try started.run(batch.part(start..<end), scale: 1 / 64)
        for index in sum.indices { sum[index] += Double(started.gradient[index]) }
        total.lossSum += result.lossSum
        total.correct += result.correct
        total.count += result.count
      }
      #expect(total.correct == whole.correct && total.count == 64)
      #expect(abs(total.lossSum - whole.lossSum) < 1e-4)
      let largest = gradient.map { abs($0) }.max()!
      #expect(zip(sum, gradient).allSatisfy { abs($0 - $1) <= 1e-5 * largest })
    }
  }

  @Test(arguments: ["softmax", "mlp:7,2"]) func noSamplesHaveZeroGradient(_ model: String) throws {
    let started = try Started(model, inputs: 5, classes: 3)
    let batch = Minibatch(capacity: 4, featureCount: 5)
    var order: [Int] = []
    let result = try started.network.gradient(
      of: batch, parameters: started.parameters, scale: 1, into: started.gradient
    ) { order.append($0) }
    #expect(result == BatchResult())
    #expect(order == Array(started.network.layout.tensors.indices))
    #expect((0..<started.gradient.count).allSatisfy { started.gradient[$0].bitPattern == 0 })
    #expect(try started.network.evaluate(batch, parameters: started.parameters, logPosteriors: nil) == BatchResult())
  }

  /// `ready` names each tensor once, in the order of the layout, when its values are what they are at the end.
  @Test(arguments: ["softmax", "mlp:33,7,2", "mlp:33,7,activation=sigmoid"])
  func tensorsAreFinalWhenTheyAreReady(_ model: String) throws {
    let started = try Started(model, inputs: 9, classes: 4)
    let batch = Minibatch.random(count: 6, featureCount: 9, classCount: 4)
    let layout = started.network.layout
    var hashes: [(tensor: Int, hash: UInt64)] = []
    _ = try started.network.gradient(of: batch, parameters: started.parameters, scale: 1, into: started.gradient) { tensor in
      hashes.append((tensor, started.gradient.hash(in: layout.tensors[tensor].range)))
    }
    #expect(hashes.map(\.tensor) == Array(layout.tensors.indices))
    for (tensor, hash) in hashes { #expect(hash == started.gradient.hash(in: layout.tensors[tensor].range)) }
    #expect((0..<started.gradient.count).allSatisfy { started.gradient[$0].isFinite })
  }

  /// The same inputs give the same bits, also after a larger minibatch has made the network grow.
  @Test func gradientRepeatsBitForBit() throws {
    let started = try Started("mlp:65,33", inputs: 20, classes: 7)
    let small = Minibatch.random(count: 5, featureCount: 20, classCount: 7, spare: 11)
    let large = Minibatch.random(count: 40, featureCount: 20, classCount: 7, seed: 2)
    let first = try started.run(small)
    let firstHash = started.gradient.hash()
    let largeResult = try started.run(large)
    let largeHash = started.gradient.hash()
    #expect(try started.run(small) == first)
    #expect(started.gradient.hash() == firstHash)

    let fresh = try Started("mlp:65,33", inputs: 20, classes: 7)
    #expect(try fresh.run(large) == largeResult)
    #expect(fresh.gradient.hash() == largeHash)
  }
}
