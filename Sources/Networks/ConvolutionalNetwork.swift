internal import Buffers

/// LeNet and its kin: 5×5 convolutions, each with 2×2 max pooling and an activation, then a hidden linear layer and the output.
///
/// Pooling comes before the activation, a quarter of the work: the activations rise, so that the result is the same.
func convolutionalNetwork(
  of image: SampleShape, filterCounts: [Int], hiddenSize: Int, classCount: Int, activation: Activation, start: Initialization,
  parameterLimit: Int
) throws(SpecificationError) -> ComposedNetwork {
  var layers: [any Layer] = []
  for filterCount in filterCounts {
    layers += [
      Convolution(filterCount, kernel: (5, 5), start: start), MaxPooling(2), Nonlinearity(activation),
    ]
  }
  layers += [Linear(hiddenSize, start: start), Nonlinearity(activation), Linear(classCount, start: start)]
  return try ComposedNetwork(Sequence(layers), input: image, parameterLimit: parameterLimit)
}
