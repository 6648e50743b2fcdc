internal import Buffers

/// The `transformer` row of the models: the decoder of GPT-2, which predicts the token after each position of a text.
///
/// Embeddings of tokens and positions; blocks that add attention and then a perceptron of four times the width, each behind a layer
/// normalization; a last normalization; and a linear layer without biases that shares nothing with the embedding. Weights start with
/// the variance of GPT-2, 0.02², drawn uniform, and those before a sum with the variance divided by the number of sums.
/// Source: Radford et al. 2019.
let transformer = Registry<NetworkRecipe>.Entry(
  "transformer", "transformer on text: predicts each token from those before it",
  keys: [
    ("layers", "blocks of attention and perceptron (4)"), ("heads", "heads of attention; they divide the width (4)"),
    ("width", "values of a position (128)"), ("context", "positions that are read at once (those of a sample)"), dropoutKey,
  ]
) { specification in
  let layerCount = try specification.integer("layers", default: 4, in: 1...layerLimit)
  let headCount = try specification.integer("heads", default: 4, in: 1...sizeLimit)
  let width = try specification.integer("width", default: 128, in: 1...sizeLimit)
  let context = try specification.integer("context", default: 0, in: 1...sizeLimit)
  let rate = try specification.probability("dropout")
  guard width % headCount == 0 else {
    throw SpecificationError("'\(specification)': a width of \(width) cannot be divided among \(headCount) heads")
  }
  return NetworkRecipe { form in
    guard form.kind == .tokens else {
      throw SpecificationError(
        "'\(specification)' reads text, and samples of \(form.inputCount) values are none; mlp takes any")
    }
    guard context == 0 || context == form.inputCount else {
      throw SpecificationError(
        "'\(specification)' reads \(context) tokens at once, and samples have \(form.inputCount); leave context out")
    }
    let bound = 0.02 * Float(3).squareRoot()
    let sumBound = bound / Float(2 * layerCount).squareRoot()
    // On what the embedding makes, and on what each block adds.
    func dropped() -> [any Layer] { rate > 0 ? [Dropout(rate)] : [] }
    var layers: [any Layer] = [Embedding(tokenCount: form.classCount, width: width, bound: bound)] + dropped()
    for _ in 0..<layerCount {
      layers += [
        Residual(
          Sequence(
            [
              LayerNormalization(), Linear(3 * width, forEachPixel: true, bound: bound), Attention(heads: headCount),
              Linear(width, forEachPixel: true, bound: sumBound),
            ] + dropped())),
        Residual(
          Sequence(
            [
              LayerNormalization(), Linear(4 * width, .gelu, forEachPixel: true, bound: bound),
              Linear(width, forEachPixel: true, bound: sumBound),
            ] + dropped())),
      ]
    }
    layers += [LayerNormalization(), Linear(form.classCount, forEachPixel: true, bound: bound, hasBiases: false)]
    return try network(
      of: specification, Sequence(layers), on: SampleShape(height: form.inputCount, width: 1, channels: 1),
      called: "text of \(form.inputCount) of \(form.classCount) tokens")
  }
}
