internal import Buffers

/// The `softmax` row of the models.
let softmaxRegression = Registry<NetworkRecipe>.Entry(
  "softmax", "softmax regression: one linear layer", keys: [startKey]
) { specification in
  try perceptron(specification, hiddenSizes: [])
}

/// The `mlp` row of the models.
let multilayerPerceptron = Registry<NetworkRecipe>.Entry(
  "mlp", "multi-layer perceptron: linear layers with an activation between them",
  values: "hidden sizes from the input on: 512,512; 7x2048 is seven layers of 2048",
  keys: [
    activationKey, startKey, normKey, dropoutKey,
    ("dropconnect", "probability that a weight of a hidden layer does not count in a step (0)"),
  ]
) { specification in
  try perceptron(specification, hiddenSizes: hiddenSizes(of: specification))
}

/// Linear layers with an activation between them, and what regularizes them: each hidden layer is normalized before its activation,
/// and values are dropped after it.
///
/// Only perceptrons without these can be split into slices; the gradients of their biases are encoded like those of weights.
private func perceptron(
  _ specification: Specification, hiddenSizes: [Int]
) throws(SpecificationError) -> NetworkRecipe {
  let activation = try specification.choice("activation", default: Activation.relu)
  let start = try specification.choice("start", default: Initialization.uniform)
  let norm = try specification.choice("norm", default: Normalization.absent)
  let dropout = try specification.probability("dropout")
  let dropConnect = try specification.probability("dropconnect")
  let isPlain = norm == .absent && dropout == 0 && dropConnect == 0
  @Sendable func hidden(_ size: Int) -> [any Layer] {
    let drop: [any Layer] = dropout > 0 ? [Dropout(dropout)] : []
    guard norm != .absent else { return [Linear(size, activation, start: start, dropConnect: dropConnect)] + drop }
    return [Linear(size, start: start, hasBiases: false, dropConnect: dropConnect)] + norm.layers(activation) + drop
  }
  return NetworkRecipe { form in
    guard form.kind != .tokens else {
      throw SpecificationError("'\(specification)' reads values, and samples of text are tokens; transformer reads those")
    }
    let shape = PerceptronShape(
      sizes: [form.inputCount] + hiddenSizes + [form.classCount], activation: activation, start: start)
    let layers = hiddenSizes.flatMap(hidden) + [Linear(form.classCount, start: start)]
    return try network(
      of: specification, Sequence(layers), on: SampleShape(height: 1, width: 1, channels: form.inputCount),
      called: "samples of \(form.inputCount) values and \(form.classCount) classes", codesVectors: isPlain,
      slicedBy: isPlain ? { SlicedPerceptron(shape, over: $0) } : nil)
  }
}

/// The sizes of the hidden layers: each value is a size, or `count`x`size`.
private func hiddenSizes(of specification: Specification) throws(SpecificationError) -> [Int] {
  guard !specification.values.isEmpty else {
    throw SpecificationError(
      "'\(specification)' names no hidden sizes; write for example 'mlp:512,512', or 'mlp:7x2048' for seven layers of 2048")
  }
  var sizes: [Int] = []
  for value in specification.values {
    let factors = value.split(separator: "x", omittingEmptySubsequences: false)
    let repetitions = factors.count == 2 ? Int(factors[0]) : 1
    guard factors.count <= 2, let repetitions, (1...layerLimit).contains(repetitions),
      let size = Int(factors[factors.count - 1]), (1...sizeLimit).contains(size)
    else {
      throw SpecificationError(
        "'\(specification)': a hidden size is a whole number of 1 to \(sizeLimit), or such as 7x2048 "
          + "for up to \(layerLimit) layers of one size, not '\(value)'")
    }
    sizes += Array(repeating: size, count: repetitions)
    guard sizes.count <= layerLimit else {
      throw SpecificationError("'\(specification)' has more than \(layerLimit) hidden layers")
    }
  }
  return sizes
}
