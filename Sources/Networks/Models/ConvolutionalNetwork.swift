internal import Buffers

/// The `cnn` row of the models: LeNet and its kin.
///
/// Pooling comes before the activation, a quarter of the work: all but GELU rise, so that the result is the same.
let convolutionalNetwork = Registry<NetworkRecipe>.Entry(
  "cnn", "convolutional network on images: 5×5 convolutions, each with 2×2 max pooling, then a hidden linear layer",
  values: "filters of each convolution from the input on, then the hidden units (20,50,500)", keys: [activationKey, startKey]
) { specification in
  let activation = try specification.choice("activation", default: Activation.relu)
  let start = try specification.choice("start", default: Initialization.uniform)
  let texts = specification.values.isEmpty ? ["20", "50", "500"] : specification.values
  let sizes = texts.compactMap { Int($0) }.filter { (1...sizeLimit).contains($0) }
  guard sizes.count == texts.count, (2...layerLimit).contains(sizes.count) else {
    throw SpecificationError(
      "'\(specification)': write the filters of each convolution and then the hidden units, whole numbers of 1 to \(sizeLimit), "
        + "such as cnn:20,50,500")
  }
  return NetworkRecipe { form in
    let image = try image(of: form, for: specification)
    var layers: [any Layer] = []
    for filterCount in sizes.dropLast() {
      layers += [Convolution(filterCount, kernel: (5, 5), start: start), MaxPooling(2), Nonlinearity(activation)]
    }
    layers += [Linear(sizes[sizes.count - 1], activation, start: start), Linear(form.classCount, start: start)]
    return try network(of: specification, Sequence(layers), on: image)
  }
}

/// The shape of samples that are images; throws if they are not.
func image(of form: SampleForm, for specification: Specification) throws(SpecificationError) -> SampleShape {
  guard case .image(let shape) = form.kind else {
    guard form.kind != .tokens else { throw textIsUnread(by: specification, "images") }
    throw SpecificationError(
      "'\(specification)' reads images, and samples of \(form.inputCount) values without height and width are none; mlp takes any"
    )
  }
  return shape
}

/// That a model cannot read the samples of a text.
func textIsUnread(by specification: Specification, _ readable: String) -> SpecificationError {
  SpecificationError("'\(specification)' reads \(readable), and samples of text are tokens; transformer reads those")
}
