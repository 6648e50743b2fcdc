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

  /// What a layer keeps of the batches it has seen, by the order of declaration.
  package struct Statistics: Hashable {
    let number: Int
  }

  /// How the values of a tensor are chosen before the first step.
  package enum Start: Hashable {
    /// Uniform in ± this bound.
    case uniform(Float)
    /// All the same.
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
    let kind: Buffers.Tensor.Kind
  }

  /// The tensors of each layer that has some.
  private var layers: [[Declaration]] = []
  /// How the gradients of vectors travel.
  private let vectorKind: Buffers.Tensor.Kind
  /// The values of a sample in each output, and in other memory that is kept.
  private(set) var outputCounts: [Int] = []
  /// The values of a sample in the largest outputs, whose gradients need as many.
  private(set) var largestOutputCount = 0
  /// The layers, from the input on.
  private(set) var notes: [Note] = []
  /// The tensors of the running statistics, whether the ranks share those of a batch, and the fewest rows of a sample.
  private(set) var statistics = (layout: TensorLayout(), isSynchronized: false, fewestRows: Int.max)
  /// The number of masks declared.
  private var maskCount = 0

  /// Whether a layer before had tensors: the gradient of what it made is needed.
  ///
  /// A layer that builds branches side by side sets it to what it was before the first.
  var needsInputGradient = false

  /// A plan of no layers; the gradients of vectors travel as floats unless `codesVectors`.
  init(codesVectors: Bool = false) { vectorKind = codesVectors ? .coded : .raw }

  /// Declares the weights of a layer, whose first dimension is its units, and a bias for each unit.
  ///
  /// The gradient of the filters that read the input travels as floats.
  ///
  /// - Parameters:
  ///   - shape: That of the weights.
  ///   - start: How they are drawn.
  ///   - reach: The number of outputs that an input has a part in, over the number of units: the pixels of a filter.
  ///   - bound: What the weights are drawn uniform in, ± it, whatever `start` is; biases are then 0.
  ///   - bias: What all biases start at; nil for how `start` draws them.
  mutating func declareWeights(
    _ shape: [Int], start: Initialization, reach: Int = 1, bound: Float? = nil, bias: Float? = nil
  ) -> (weights: Tensor, biases: Tensor) {
    let bounds = bound.map { ($0, Float(0)) } ?? bounds(shape, start, reach)
    let tensors = declare([
      ("weight", shape, .uniform(bounds.0)),
      ("bias", [shape[0]], bias.map(Start.constant) ?? .uniform(bounds.1)),
    ])
    return (tensors[0], tensors[1])
  }

  /// The same without biases.
  mutating func declareWeightsAlone(
    _ shape: [Int], start: Initialization, reach: Int = 1, bound: Float? = nil
  ) -> Tensor {
    declare([("weight", shape, .uniform(bound ?? bounds(shape, start, reach).weights))])[0]
  }

  /// Declares a gain and a bias for each of `count` channels, which start as the identity.
  mutating func declareScaling(_ count: Int) -> (gains: Tensor, biases: Tensor) {
    let tensors = declare([("weight", [count], .constant(1)), ("bias", [count], .constant(0))])
    return (tensors[0], tensors[1])
  }

  /// Declares the tensors of a layer, in the order in which their gradients become ready.
  ///
  /// Their names are those of PyTorch for the parameters of modules `layers.1`, `layers.2`, …: `layers.3.weight`.
  mutating func declare(_ tensors: [(name: String, shape: [Int], start: Start)]) -> [Tensor] {
    let (number, first) = (layers.count + 1, layers.reduce(0) { $0 + $1.count })
    let isFirst = layers.isEmpty
    layers.append(
      tensors.map { name, shape, start in
        let isRaw = shape.count == 1 ? vectorKind == .raw : shape.count > 2 && isFirst
        return Declaration(name: "layers.\(number).\(name)", shape: shape, start: start, kind: isRaw ? .raw : .coded)
      })
    needsInputGradient = true
    return tensors.indices.map { Tensor(number: first + $0) }
  }

  private func bounds(_ shape: [Int], _ start: Initialization, _ reach: Int) -> (weights: Float, biases: Float) {
    start.bounds(inputCount: shape.dropFirst().reduce(1, *), outputCount: shape[0] * reach)
  }

  /// Declares a running mean and variance of each channel of `shape`, under the number of the layer declared last.
  mutating func declareStatistics(_ shape: SampleShape, isSynchronized: Bool) -> Statistics {
    let number = statistics.layout.tensors.count / 2
    for name in ["running_mean", "running_var"] {
      statistics.layout.append("layers.\(layers.count).\(name)", shape: [shape.channels])
    }
    statistics.fewestRows = min(statistics.fewestRows, shape.pixelCount)
    statistics.isSynchronized = statistics.isSynchronized || isSynchronized
    return Statistics(number: number)
  }

  /// Declares a random mask; returns its number among those of the network.
  mutating func declareMask() -> Int {
    maskCount += 1
    return maskCount
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

  /// The tensors in backward order, the last layer first; the place of each declared tensor among them; and how each starts.
  var arrangement: (layout: TensorLayout, places: [Int], starts: [Start]) {
    var layout = TensorLayout()
    var places: [Int] = []
    var starts: [Start] = []
    for layer in layers.reversed() {
      places.insert(contentsOf: layer.indices.map { layout.tensors.count + $0 }, at: 0)
      for tensor in layer {
        layout.append(tensor.name, shape: tensor.shape, kind: tensor.kind)
        starts.append(tensor.start)
      }
    }
    return (layout, places, starts)
  }
}
