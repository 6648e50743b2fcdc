internal import Buffers

/// What the layers of a network need, collected while they are built from the input on.
package struct Plan {
  /// A tensor, by the order of declaration.
  package struct Tensor: Hashable {
    let number: Int
  }

  /// Memory for the outputs of a layer, by the order of declaration.
  package struct Output: Hashable {
    let number: Int
  }

  private struct Declaration {
    let name: String
    let shape: [Int]
    let bound: Float
  }

  /// The tensors of each layer that has some.
  private var layers: [[Declaration]] = []
  /// The values of a sample in each output.
  private(set) var outputCounts: [Int] = []

  /// Whether a layer before had tensors: the gradient of what it made is needed.
  var needsInputGradient: Bool { !layers.isEmpty }

  /// Declares the weights of a layer, whose first dimension is its units, and a bias for each unit.
  ///
  /// - Parameters:
  ///   - shape: That of the weights.
  ///   - start: How they are drawn.
  ///   - reach: The number of outputs that an input has a part in, over the number of units: the pixels of a filter.
  mutating func declareWeights(_ shape: [Int], start: Initialization, reach: Int = 1) -> (weights: Tensor, biases: Tensor) {
    let number = layers.count + 1
    let bounds = start.bounds(inputCount: shape.dropFirst().reduce(1, *), outputCount: shape[0] * reach)
    let first = layers.reduce(0) { $0 + $1.count }
    layers.append([
      Declaration(name: "weights.\(number)", shape: shape, bound: bounds.weights),
      Declaration(name: "biases.\(number)", shape: [shape[0]], bound: bounds.biases),
    ])
    return (Tensor(number: first), Tensor(number: first + 1))
  }

  /// Declares outputs of `shape`, which are kept until the next forward pass.
  mutating func declareOutputs(_ shape: SampleShape) -> Output {
    outputCounts.append(shape.count)
    return Output(number: outputCounts.count - 1)
  }

  /// The number of parameters.
  var parameterCount: Int { layers.joined().reduce(0) { $0 + $1.shape.reduce(1, *) } }

  /// The tensors in backward order, the last layer first; the place of each declared tensor among them; and the largest magnitude
  /// that each is drawn with.
  var arrangement: (layout: TensorLayout, places: [Int], bounds: [Float]) {
    var layout = TensorLayout()
    var places: [Int] = []
    var bounds: [Float] = []
    for layer in layers.reversed() {
      places.insert(contentsOf: layer.indices.map { layout.tensors.count + $0 }, at: 0)
      for tensor in layer {
        layout.append(tensor.name, shape: tensor.shape)
        bounds.append(tensor.bound)
      }
    }
    return (layout, places, bounds)
  }
}
