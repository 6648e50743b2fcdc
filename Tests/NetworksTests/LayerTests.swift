import Buffers
import Networks
import Testing

/// Layers on small images, and the number of samples.
private struct LayerCase: CustomTestStringConvertible, Sendable {
  let name: String
  let input: SampleShape
  let layers: @Sendable () -> [ReferenceLayer]
  let count: Int
  var testDescription: String { name }

  init(
    _ name: String, _ height: Int, _ width: Int, _ channels: Int, count: Int = 3,
    _ layers: @escaping @Sendable () -> [ReferenceLayer]
  ) {
    (self.name, self.layers, self.count) = (name, layers, count)
    input = SampleShape(height: height, width: width, channels: channels)
  }
}

/// Each layer first, in the middle and last of what has parameters, over sizes that fill neither lanes nor windows.
private let cases: [LayerCase] = [
  LayerCase("linear", 2, 3, 2) { [.linear(4)] },
  LayerCase("linear, sigmoid, linear", 1, 1, 7) { [.linear(9), .sigmoid, .linear(3)] },
  LayerCase("linear, ReLU, linear", 1, 1, 7, count: 1) { [.linear(17), .relu, .linear(3)] },
  LayerCase("one channel", 5, 5, 1) {
    [.convolution(filters: 3, kernel: (3, 3), stride: 1, padding: 0), .sigmoid, .linear(4)]
  },
  LayerCase("three channels, stride and padding", 7, 6, 3) {
    [
      .convolution(filters: 4, kernel: (3, 2), stride: 2, padding: 1), .sigmoid,
      .convolution(filters: 5, kernel: (2, 3), stride: 1, padding: 1), .sigmoid, .linear(3),
    ]
  },
  LayerCase("pooling of odd sizes", 7, 9, 2) {
    [.convolution(filters: 3, kernel: (3, 3), stride: 1, padding: 0), .pooling(2), .sigmoid, .linear(3)]
  },
  // The memory of the gradients has been used before by what follows, so that left-out pixels must be set.
  LayerCase("pooling of odd sizes before a convolution", 7, 9, 1) {
    [
      .convolution(filters: 3, kernel: (3, 3), stride: 1, padding: 0), .pooling(2), .sigmoid,
      .convolution(filters: 9, kernel: (2, 2), stride: 1, padding: 0), .sigmoid, .linear(3),
    ]
  },
  LayerCase("pooling in threes of many channels", 6, 7, 1, count: 2) {
    [.convolution(filters: 19, kernel: (1, 1), stride: 1, padding: 0), .pooling(3), .relu, .linear(2)]
  },
  LayerCase("pooling and activation first", 4, 4, 2) { [.pooling(2), .sigmoid, .linear(3)] },
  LayerCase("no biases", 5, 4, 2) {
    [.convolutionAlone(filters: 3, kernel: (3, 3), stride: 1, padding: 1), .sigmoid, .linearAlone(5), .sigmoid, .linear(3)]
  },
  LayerCase("mean over pixels", 3, 5, 2) {
    [.convolution(filters: 19, kernel: (2, 2), stride: 1, padding: 0), .averagePooling, .linear(3)]
  },
  LayerCase("normalization first", 3, 2, 5, count: 7) { [.batchNormalization(relu: false), .sigmoid, .linear(3)] },
  LayerCase("normalization between linear layers", 1, 1, 6, count: 9) {
    [.linearAlone(21), .batchNormalization(relu: false), .sigmoid, .linear(4)]
  },
  // 99 rows are a block and a half.
  LayerCase("normalization with ReLU behind a convolution", 5, 4, 3, count: 11) {
    [.convolutionAlone(filters: 17, kernel: (3, 2), stride: 1, padding: 0), .batchNormalization(relu: true), .linear(3)]
  },
  LayerCase("a residual sum", 3, 3, 2) {
    [
      .residual([.convolution(filters: 2, kernel: (3, 3), stride: 1, padding: 1), .sigmoid], isNormalized: false), .linear(4),
      .sigmoid, .residual([.linear(4), .sigmoid, .linear(4)], shortcut: [.linearAlone(4)], isNormalized: false), .linear(3),
    ]
  },
  LayerCase("a small ResNet", 6, 5, 3, count: 5) {
    [
      .convolutionAlone(filters: 4, kernel: (3, 3), stride: 1, padding: 1), .batchNormalization(relu: true),
      .residual(
        [
          .convolutionAlone(filters: 4, kernel: (3, 3), stride: 1, padding: 1), .batchNormalization(relu: true),
          .convolutionAlone(filters: 4, kernel: (3, 3), stride: 1, padding: 1),
        ], isNormalized: true),
      .residual(
        [
          .convolutionAlone(filters: 7, kernel: (3, 3), stride: 2, padding: 1), .batchNormalization(relu: true),
          .convolutionAlone(filters: 7, kernel: (3, 3), stride: 1, padding: 1),
        ],
        shortcut: [
          .convolutionAlone(filters: 7, kernel: (1, 1), stride: 2, padding: 0), .batchNormalization(relu: false),
        ], isNormalized: true),
      .averagePooling, .linear(3),
    ]
  },
  LayerCase("a residual block first, with more inputs than outputs", 6, 6, 5, count: 4) {
    [
      .residual(
        [.convolutionAlone(filters: 3, kernel: (3, 3), stride: 2, padding: 1)],
        shortcut: [.convolutionAlone(filters: 3, kernel: (1, 1), stride: 2, padding: 0)], isNormalized: true), .linear(3),
    ]
  },
  LayerCase("highway", 1, 1, 6, count: 4) {
    [.linear(19), .sigmoid, .highway(19, gateBias: -2), .highway(19, gateBias: 0.5), .linear(3)]
  },
  LayerCase("highway first", 1, 1, 5, count: 4) { [.highway(5, gateBias: -1), .linear(3)] },
  // 130 values take more than a block of draws.
  LayerCase("dropout", 1, 1, 5, count: 4) {
    [.dropout(0.3, number: 1), .linear(130), .sigmoid, .dropout(0.5, number: 2), .linear(4)]
  },
  LayerCase("DropConnect", 1, 1, 12, count: 4) {
    [.dropConnect(23, 0.5, number: 1), .sigmoid, .dropout(0, number: 2), .dropConnect(5, 0.25, number: 3)]
  },
  LayerCase("tanh and GELU", 1, 1, 7) { [.linear(17), .tanh, .linear(5), .gelu, .linear(3)] },
  LayerCase("GELU first", 1, 1, 19) { [.gelu, .linear(3)] },
  LayerCase("the same weights for each pixel", 3, 2, 5) {
    [.linearOfEachPixel(7), .sigmoid, .linearOfEachPixel(3, hasBiases: false)]
  },
  LayerCase("layer normalization", 3, 1, 5) {
    [.layerNormalization, .linearOfEachPixel(19), .layerNormalization, .linearOfEachPixel(3)]
  },
  LayerCase("a sum around what overwrites gradients", 2, 2, 3) {
    [
      .linearOfEachPixel(5), .residual([.sigmoid, .linearOfEachPixel(5), .gelu, .layerNormalization], isNormalized: false),
      .linearOfEachPixel(3),
    ]
  },
  LayerCase("a sum first, and one within another", 2, 1, 4) {
    [
      .residual([.linearOfEachPixel(4), .residual([.tanh, .linearOfEachPixel(4)], isNormalized: false)], isNormalized: false),
      .linearOfEachPixel(3),
    ]
  },
  LayerCase("embedding", 6, 1, 1, count: 4) { [.embedding(tokens: 5, width: 3), .linearOfEachPixel(5)] },
  LayerCase("a transformer", 7, 1, 1) {
    func block(_ width: Int) -> [ReferenceLayer] {
      [
        .residual(
          [.layerNormalization, .linearOfEachPixel(3 * width), .attention(heads: 2), .linearOfEachPixel(width)],
          isNormalized: false),
        .residual([.layerNormalization, .linearOfEachPixel(4 * width), .gelu, .linearOfEachPixel(width)], isNormalized: false),
      ]
    }
    return [.embedding(tokens: 5, width: 6)] + block(6) + block(6)
      + [.layerNormalization, .linearOfEachPixel(5, hasBiases: false)]
  },
  LayerCase("a small LeNet", 16, 16, 1, count: 2) {
    [
      .convolution(filters: 2, kernel: (5, 5), stride: 1, padding: 0), .pooling(2), .relu,
      .convolution(filters: 3, kernel: (5, 5), stride: 1, padding: 0), .pooling(2), .relu, .linear(6), .relu, .linear(4),
    ]
  },
]

@Suite struct LayerTests {
  /// The gradient is that of the loss, by central differences of independent layers in fp64; the bound is that of `GradientTests`.
  @Test(arguments: cases) private func gradientMatchesFiniteDifferences(_ it: LayerCase) throws {
    let layers = it.layers()
    let network = try ComposedNetwork(Sequence(layers.map(\.product)), input: it.input)
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 3)
    let tokenCount: Int? = if case .embedding(let tokens, _) = layers[0] { tokens } else { nil }
    let batch = Minibatch.random(
      count: it.count, featureCount: it.input.count, classCount: network.classCount, targetCount: network.targetCount,
      tokenCount: tokenCount, spare: 2)
    batch.origin = MinibatchOrigin(seed: 7, step: 11, position: 5)
    let gradient = FloatBuffer(count: network.layout.count)
    for index in 0..<gradient.count { gradient[index] = .nan }
    var order: [Int] = []
    let result = try network.gradient(of: batch, parameters: parameters, scale: 0.125, into: gradient) { order.append($0) }
    #expect(order == Array(network.layout.tensors.indices))

    let reference = ReferenceComposition(input: it.input, layers: layers, origin: batch.origin)
    let doubles = parameters.doubles
    #expect(result.count == it.count)
    #expect(abs(result.lossSum - reference.loss(of: batch, parameters: doubles)) <= 1e-5 * Double(it.count))
    if !layers.contains(where: \.dependsOnMode) {
      #expect(try network.evaluate(batch, parameters: parameters, logPosteriors: nil) == result)
    }
    let expected = reference.gradient(of: batch, parameters: doubles).map { $0 / 8 }
    for tensor in network.layout.tensors {
      let largest = tensor.range.reduce(1e-3) { max($0, abs(expected[$1])) }
      for index in tensor.range where !(abs(Double(gradient[index]) - expected[index]) <= 5e-6 * largest) {
        Issue.record("\(tensor.name)[\(index - tensor.range.lowerBound)] is \(gradient[index]), not \(expected[index])")
      }
    }
  }

  /// A layer that does not fit is refused when the model is built, in one sentence.
  @Test func layersThatDoNotFitAreRefused() {
    func refusal(_ layers: [any Layer], _ height: Int, _ width: Int) -> String? {
      #expect(throws: SpecificationError.self) {
        try ComposedNetwork(Sequence(layers), input: SampleShape(height: height, width: width, channels: 1))
      }?.description
    }
    #expect(refusal([Convolution(2, kernel: (5, 5)), Linear(2)], 4, 4) == "convolution 5×5 does not fit on 4×4")
    #expect(
      refusal([Convolution(2, kernel: (3, 7), padding: 1), Linear(2)], 9, 4)
        == "convolution 3×7 with padding 1 does not fit on 9×4")
    #expect(refusal([MaxPooling(2), MaxPooling(2), Linear(2)], 5, 3) == "pooling 2×2 does not fit on 2×1")
  }

  /// Of equal values the first takes the gradient: together they move the maximum once.
  @Test func oneOfEqualValuesTakesTheGradient() throws {
    let network = try ComposedNetwork(
      Sequence([Convolution(1, kernel: (1, 1)), MaxPooling(2), Linear(2)]), input: SampleShape(height: 2, width: 2, channels: 1)
    )
    let (parameters, gradient) = (FloatBuffer(count: 6), FloatBuffer(count: 6))
    network.initialize(parameters, seed: 1)
    let batch = Minibatch(capacity: 1, featureCount: 4)
    for index in 0..<4 { batch.inputs[index] = 0.5 }
    batch.count = 1
    _ = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
    // Weights of the output layer, its biases, whose gradients are those of the logits, then the filter and its bias.
    let delta = gradient[2] * parameters[0] + gradient[3] * parameters[1]
    #expect(abs(gradient[4] - delta * 0.5) < 1e-6 && abs(gradient[5] - delta) < 1e-6 && abs(delta) > 1e-3)
  }

  /// NaN is the largest value of its window, wherever it lies, and takes the gradient with it.
  @Test(arguments: 0..<4) func poolingPassesNaNOn(_ place: Int) throws {
    let network = try ComposedNetwork(
      Sequence([Convolution(1, kernel: (1, 1)), MaxPooling(2), Linear(2)]), input: SampleShape(height: 2, width: 2, channels: 1)
    )
    let parameters = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 1)
    let gradient = FloatBuffer(count: network.layout.count)
    let batch = Minibatch.random(count: 1, featureCount: 4, classCount: 2)
    batch.inputs[place] = .nan
    let result = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
    #expect(result.lossSum.isNaN && result.correct == 0)
    #expect((0..<gradient.count).allSatisfy { !gradient[$0].isFinite })
  }
}
