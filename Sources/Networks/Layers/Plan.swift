package import Buffers

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

  /// How the values of a tensor are set before the first step.
  package enum Start {
    /// Drawn, uniform in ± this magnitude.
    case uniform(Float)
    /// This value.
    case constant(Float)
  }

  /// A layer as a table shows it.
  package struct Note {
    /// What it is, in a few words.
    package let summary: String
    /// The shape of its outputs.
    package let output: SampleShape
    /// Its tensors, from those that the input meets first on.
    package let tensors: [(name: String, shape: [Int])]
  }

  private struct Declaration {
    let name: String
    let shape: [Int]
    let start: Start
  }

  /// The tensors of each layer that has some.
  private var layers: [[Declaration]] = []
  /// The values of a sample in each output, and in other memory that is kept.
  private(set) var outputCounts: [Int] = []
  /// The values of a sample in the largest outputs, whose gradients need as many.
  private(set) var largestOutputCount = 0
  /// The layers, from the input on.
  private(set) var notes: [Note] = []

  /// Whether a layer before had tensors: the gradient of what it made is needed.
  var needsInputGradient: Bool { !layers.isEmpty }

  /// Declares the weights of a layer, whose first dimension is its units, and a bias for each unit.
  ///
  /// - Parameters:
  ///   - shape: That of the weights.
  ///   - start: How they are drawn.
  ///   - reach: The number of outputs that an input has a part in, over the number of units: the pixels of a filter.
  mutating func declareWeights(_ shape: [Int], start: Initialization, reach: Int = 1) -> (weights: Tensor, biases: Tensor) {
    let bounds = start.bounds(inputCount: shape.dropFirst().reduce(1, *), outputCount: shape[0] * reach)
    let tensors = declare([
      ("weights", shape, .uniform(bounds.weights)), ("biases", [shape[0]], .uniform(bounds.biases)),
    ])
    return (tensors[0], tensors[1])
  }

  /// Declares the tensors of a layer, in the order in which their gradients become ready; their names get the layer's number.
  mutating func declare(_ tensors: [(kind: String, shape: [Int], start: Start)]) -> [Tensor] {
    let number = layers.count + 1
    let first = layers.reduce(0) { $0 + $1.count }
    layers.append(tensors.map { Declaration(name: "\($0.kind).\(number)", shape: $0.shape, start: $0.start) })
    return tensors.indices.map { Tensor(number: first + $0) }
  }

  /// Declares outputs of `shape`, which are kept until the next forward pass.
  mutating func declareOutputs(_ shape: SampleShape) -> Output {
    largestOutputCount = max(largestOutputCount, shape.count)
    return declareMemory(shape.count)
  }

  /// Declares memory of `count` values for each sample, which is kept until the next forward pass.
  mutating func declareMemory(_ count: Int) -> Output {
    outputCounts.append(count)
    return Output(number: outputCounts.count - 1)
  }

  /// Builds `layer` on inputs of this shape, and notes it with the tensors that are not yet in a note.
  mutating func build(_ layer: any Layer, on input: SampleShape) throws(SpecificationError) -> SampleShape {
    let output = try layer.build(input, &self)
    if let summary = layer.summary {
      let noted = notes.reduce(0) { $0 + $1.tensors.count }
      let tensors = layers.joined().dropFirst(noted).map { ($0.name, $0.shape) }
      notes.append(Note(summary: summary, output: output, tensors: tensors))
    }
    return output
  }

  /// The number of parameters.
  var parameterCount: Int { layers.joined().reduce(0) { $0 + $1.shape.reduce(1, *) } }

  /// The bytes that a sample takes in a pass, at least: all outputs, and the gradient of one layer.
  var bytesOfSample: Int { 4 * (outputCounts.reduce(0, +) + largestOutputCount) }

  /// The tensors in backward order, the last layer first; the place of each declared tensor among them; and how each is set before
  /// the first step.
  var arrangement: (layout: TensorLayout, places: [Int], starts: [Start]) {
    var layout = TensorLayout()
    var places: [Int] = []
    var starts: [Start] = []
    for layer in layers.reversed() {
      places.insert(contentsOf: layer.indices.map { layout.tensors.count + $0 }, at: 0)
      for tensor in layer {
        layout.append(tensor.name, shape: tensor.shape)
        starts.append(tensor.start)
      }
    }
    return (layout, places, starts)
  }
}
