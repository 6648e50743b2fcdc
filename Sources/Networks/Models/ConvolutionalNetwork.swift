internal import Buffers

/// The `cnn` row of the models: LeNet and its kin without normalization, and convolutions that keep the size of an image with it.
///
/// Without normalization pooling comes before the activation, a quarter of the work: the activations rise, so that the result is the
/// same.
let convolutionalNetwork = Registry<NetworkRecipe>.Entry(
  "cnn",
  "convolutional network on images: convolutions, each with 2×2 max pooling, then linear layers; on gray images LeNet, on colour "
    + "images 3×3 convolutions with batch normalization",
  values: "filters of each convolution from the input on, and then, without norm and hidden, the hidden units (20,50,500; on "
    + "colour images 32,64,128)",
  keys: [
    activationKey, startKey,
    ("norm", "none, batch (each rank by its own samples) or sync (by those of all ranks) (none; on colour images batch)"),
    ("kernel", "height and width of filters (5 without padding; with norm 3, odd, padded to keep the size)"),
    ("hidden", "hidden units, 0 for none; all values are then filters"), dropoutKey,
  ]
) { specification in
  let recipe = try ConvolutionalRecipe(specification)
  return NetworkRecipe { form in
    let image = try image(of: form, for: specification)
    return try network(of: specification, Sequence(recipe.layers(on: image, classCount: form.classCount)), on: image)
  }
}

/// What a specification says of a convolutional network, before its images are known.
private struct ConvolutionalRecipe {
  private let activation: Activation
  private let start: Initialization
  private let norm: Normalization?
  private let kernel: Int?
  private let hidden: Int?
  private let dropout: Double
  private let sizes: [Int]

  init(_ specification: Specification) throws(SpecificationError) {
    activation = try specification.choice("activation", default: Activation.relu)
    start = try specification.choice("start", default: Initialization.uniform)
    norm = specification.options["norm"] == nil ? nil : try specification.choice("norm", default: Normalization.absent)
    kernel = try specification.number("kernel", in: 1...255)
    hidden = try specification.number("hidden", in: 0...sizeLimit)
    dropout = try specification.probability("dropout")
    sizes = specification.values.compactMap { Int($0) }.filter { (1...sizeLimit).contains($0) }
    let isLast = (norm ?? .absent) == .absent && hidden == nil
    guard sizes.count == specification.values.count, sizes.count <= layerLimit, !(isLast && sizes.count == 1) else {
      throw SpecificationError(
        "'\(specification)': write the filters of each convolution\(isLast ? " and then the hidden units" : ""), whole numbers of 1 "
          + "to \(sizeLimit), such as \(isLast ? "cnn:20,50,500" : "cnn:32,64,128,norm=batch")")
    }
    if (norm ?? .absent) != .absent, let kernel, kernel % 2 == 0 {
      throw SpecificationError("'\(specification)': filters that keep the size of an image have an odd kernel, not \(kernel)")
    }
  }

  /// The layers on images of this shape.
  func layers(on image: SampleShape, classCount: Int) throws(SpecificationError) -> [any Layer] {
    let norm = norm ?? (image.channels > 1 ? .batch : .absent)
    let layers = norm == .absent ? plainLayers() : normalizedLayers(norm)
    return layers + (dropout > 0 ? [Dropout(dropout)] : []) + [Linear(classCount, start: start)]
  }

  private func plainLayers() -> [any Layer] {
    var (filters, hidden) = (sizes.isEmpty ? [20, 50] : sizes, hidden ?? 500)
    if self.hidden == nil, !sizes.isEmpty { hidden = filters.removeLast() }
    let kernel = kernel ?? 5
    let convolutions: [any Layer] = filters.flatMap { filterCount -> [any Layer] in
      [Convolution(filterCount, kernel: (kernel, kernel), start: start), MaxPooling(2), Nonlinearity(activation)]
    }
    return convolutions + (hidden > 0 ? [Linear(hidden, activation, start: start)] : [])
  }

  private func normalizedLayers(_ norm: Normalization) -> [any Layer] {
    let kernel = kernel ?? 3
    let convolutions: [any Layer] = (sizes.isEmpty ? [32, 64, 128] : sizes).flatMap { filterCount -> [any Layer] in
      let convolution = Convolution(
        filterCount, kernel: (kernel, kernel), padding: kernel / 2, start: start, hasBiases: false)
      return [convolution] + norm.layers(activation) + [MaxPooling(2)]
    }
    guard let hidden, hidden > 0 else { return convolutions }
    return convolutions + [Linear(hidden, start: start, hasBiases: false)] + norm.layers(activation)
  }
}

/// The shape of samples that are images; throws if they are not.
func image(of form: SampleForm, for specification: Specification) throws(SpecificationError) -> SampleShape {
  guard case .image(let shape) = form.kind else {
    throw SpecificationError(
      "'\(specification)' reads images, and samples of \(form.inputCount) values without height and width are none; mlp takes any"
    )
  }
  return shape
}
