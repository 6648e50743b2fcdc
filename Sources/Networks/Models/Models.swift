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

/// The available models, one row each; each makes its network for the samples of a data set.
public let models = Registry<NetworkRecipe>(
  "model",
  [
    softmaxRegression, multilayerPerceptron, convolutionalNetwork, residualNetwork, highwayNetwork, transformer,
  ])

/// The key of models whose parameters are drawn in one of several ways.
let startKey = ("start", "uniform by fan-in, he or glorot (uniform)")
/// The key of models with an activation between their layers.
let activationKey = ("activation", "relu, sigmoid, tanh or gelu (relu)")

/// The key of models with batch normalization.
let normKey = ("norm", "none, batch (each rank by its own samples) or sync (by those of all ranks) (none)")
/// The key of models with dropout.
let dropoutKey = ("dropout", "probability of dropping a value in training (0)")

/// The normalization after the layers of a model.
enum Normalization: String, CaseIterable {
  /// None.
  case absent = "none"
  /// By each rank's own samples.
  case batch
  /// By the samples of all ranks.
  case sync

  /// The layers of this normalization, unless there is none, and of the activation after it.
  func layers(_ activation: Activation) -> [any Layer] {
    guard self != .absent else { return [Nonlinearity(activation)] }
    let isFused = activation == .relu
    let layer = BatchNormalization(relu: isFused, isSynchronized: self == .sync)
    return isFused ? [layer] : [layer, Nonlinearity(activation)]
  }
}

extension Specification {
  /// The value of key `key`, a probability below 1; 0 if it is absent.
  func probability(_ key: String) throws(SpecificationError) -> Double {
    guard let text = options[key] else { return 0 }
    guard let value = Double(text), 0 <= value, value < 1 else {
      throw SpecificationError("'\(self)': \(key) is a probability from 0 to below 1, not '\(text)'")
    }
    return value
  }

  /// The value of key `key`, a whole number in `range`; nil if it is absent.
  func number(_ key: String, in range: ClosedRange<Int>) throws(SpecificationError) -> Int? {
    guard let text = options[key] else { return nil }
    guard let value = Int(text), range.contains(value) else {
      throw SpecificationError(
        "'\(self)': \(key) is a whole number of \(range.lowerBound) to \(range.upperBound), not '\(text)'")
    }
    return value
  }
}

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
  codesVectors: Bool = false, slicedBy slice: ((any SliceExchange) -> any SlicedNetwork)? = nil
) throws(SpecificationError) -> ComposedNetwork {
  do {
    return try ComposedNetwork(
      layers, input: input, parameterLimit: parameterLimit, codesVectors: codesVectors, slicedBy: slice)
  } catch {
    throw SpecificationError("'\(specification)' on \(name ?? "images of \(input)"): \(error)")
  }
}
