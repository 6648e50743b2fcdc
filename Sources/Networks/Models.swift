public import Buffers

/// Makes the network of a specification for the samples of a data set.
public struct NetworkRecipe: Sendable {
  private let make: @Sendable (_ inputCount: Int, _ classCount: Int, _ image: SampleShape?) throws -> any Network

  init(_ make: @escaping @Sendable (_ inputCount: Int, _ classCount: Int, _ image: SampleShape?) throws -> any Network) {
    self.make = make
  }

  /// A network for samples of `inputCount` values, which are an image of shape `image` if that is not nil.
  ///
  /// Throws `SpecificationError` if the model cannot be that large, does not fit on the image, or needs one.
  public func callAsFunction(_ inputCount: Int, _ classCount: Int, image: SampleShape? = nil) throws -> any Network {
    if let image {
      require(image.count == inputCount, "an image of \(image) for samples of \(inputCount) values")
    }
    return try make(inputCount, classCount, image)
  }
}

/// The available models; each makes its network for a data set's samples and number of classes.
public let models = Registry<NetworkRecipe>(
  "model",
  [
    .init("softmax", "softmax regression: one linear layer", keys: [startKey]) { specification in
      try perceptron(specification, hiddenSizes: [])
    },
    .init(
      "mlp", "multi-layer perceptron: linear layers with an activation between them",
      values: "hidden sizes from the input on: 512,512; 7x2048 is seven layers of 2048",
      keys: [("activation", "relu or sigmoid (relu)"), startKey]
    ) { specification in
      try perceptron(specification, hiddenSizes: hiddenSizes(of: specification))
    },
    .init(
      "cnn", "convolutional network on images: 5×5 convolutions, each with 2×2 max pooling, then a hidden linear layer",
      values: "filters of each convolution from the input on, then the hidden units (20,50,500)",
      keys: [("activation", "relu or sigmoid (relu)"), startKey]
    ) { specification in
      try convolutional(specification)
    },
  ])

private let startKey = ("start", "uniform by fan-in, he or glorot (uniform)")

/// The maximum number of hidden layers of a perceptron, and of values in a layer.
private let layerLimit = 64
private let sizeLimit = 65536
/// The maximum number of parameters: more than 8 GiB is surely a typo, better rejected than left to the kernel to kill.
private let parameterLimit = 1 << 31

private func perceptron(
  _ specification: Specification, hiddenSizes: [Int]
) throws(SpecificationError) -> NetworkRecipe {
  let activation: Activation = try choice("activation", default: .relu, in: specification)
  let start: Initialization = try choice("start", default: .uniform, in: specification)
  return NetworkRecipe { inputCount, classCount, _ in
    let sizes = [inputCount] + hiddenSizes + [classCount]
    let parameterCount = zip(sizes, sizes.dropFirst()).reduce(0) { $0 + ($1.0 + 1) * $1.1 }
    guard parameterCount <= parameterLimit else {
      throw SpecificationError(
        "'\(specification)' with \(inputCount) inputs and \(classCount) classes has \(parameterCount) parameters; "
          + "at most \(parameterLimit) are possible")
    }
    return MultilayerPerceptron(
      inputCount: inputCount, hiddenSizes: hiddenSizes, classCount: classCount, activation: activation, start: start)
  }
}

private func convolutional(_ specification: Specification) throws(SpecificationError) -> NetworkRecipe {
  let activation: Activation = try choice("activation", default: .relu, in: specification)
  let start: Initialization = try choice("start", default: .uniform, in: specification)
  let texts = specification.values.isEmpty ? ["20", "50", "500"] : specification.values
  let sizes = texts.compactMap { Int($0) }.filter { (1...sizeLimit).contains($0) }
  guard sizes.count == texts.count, (2...layerLimit).contains(sizes.count) else {
    throw SpecificationError(
      "'\(specification)': write the filters of each convolution and then the hidden units, whole numbers of 1 to \(sizeLimit), "
        + "such as cnn:20,50,500")
  }
  return NetworkRecipe { inputCount, classCount, image in
    guard let image else {
      throw SpecificationError(
        "'\(specification)' reads images, and samples of \(inputCount) values without height and width are none; mlp takes any")
    }
    do {
      return try convolutionalNetwork(
        of: image, filterCounts: sizes.dropLast(), hiddenSize: sizes[sizes.count - 1], classCount: classCount,
        activation: activation, start: start, parameterLimit: parameterLimit)
    } catch {
      throw SpecificationError("'\(specification)' on images of \(image): \(error)")
    }
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

/// The case that key `key` names.
private func choice<Choice: RawRepresentable & CaseIterable>(
  _ key: String, default standard: Choice, in specification: Specification
) throws(SpecificationError) -> Choice where Choice.RawValue == String {
  guard let text = specification.options[key] else { return standard }
  guard let choice = Choice(rawValue: text) else {
    throw SpecificationError(
      unknown("'\(specification)': unknown \(key)", text, known: Choice.allCases.map(\.rawValue)))
  }
  return choice
}
