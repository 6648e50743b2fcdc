public import Buffers

/// Makes the network of a specification for the samples of a data set.
public struct NetworkRecipe: Sendable {
  private let make: @Sendable (_ form: SampleForm) throws -> any Network

  init(_ make: @escaping @Sendable (_ form: SampleForm) throws -> any Network) { self.make = make }

  /// A network for samples of this form.
  ///
  /// Throws `SpecificationError` if the model cannot be that large, does not fit on the samples, or reads others.
  public func callAsFunction(_ form: SampleForm) throws -> any Network { try make(form) }

  /// A network for samples of `inputCount` values, which are an image of shape `image` if that is not nil.
  public func callAsFunction(_ inputCount: Int, _ classCount: Int, image: SampleShape? = nil) throws -> any Network {
    let kind = image.map(SampleForm.Kind.image) ?? .values
    return try make(SampleForm(inputCount: inputCount, classCount: classCount, kind: kind))
  }
}

/// The available models; each makes its network for the samples of a data set.
///
/// A row each.
public let models = Registry<NetworkRecipe>(
  "model", [softmaxRegression, multilayerPerceptron, convolutionalNetwork, transformer])

/// The key of models whose parameters are drawn in one of several ways.
let startKey = ("start", "uniform by fan-in, he or glorot (uniform)")
/// The key of models with an activation between their layers.
let activationKey = ("activation", "relu, sigmoid, tanh or gelu (relu)")

/// The maximum number of layers of a kind that a model repeats, and of values in a layer.
let layerLimit = 64
let sizeLimit = 65536
/// The maximum number of parameters: more than 8 GiB is surely a typo, better rejected than left to the kernel to kill.
let parameterLimit = 1 << 31

/// The network that `layers` make of samples of shape `input`.
///
/// Throws `SpecificationError` that names the specification.
func network(
  of specification: Specification, _ layers: any Layer, on input: SampleShape, called name: String? = nil,
  slicedBy slice: ((any SliceExchange) -> any SlicedNetwork)? = nil
) throws(SpecificationError) -> ComposedNetwork {
  do { return try ComposedNetwork(layers, input: input, parameterLimit: parameterLimit, slicedBy: slice) } catch {
    throw SpecificationError("'\(specification)' on \(name ?? "images of \(input)"): \(error)")
  }
}
