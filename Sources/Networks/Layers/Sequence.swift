package import Buffers

/// Layers one after another.
package final class Sequence: Layer {
  private let layers: [any Layer]

  /// These layers, from the input on.
  package init(_ layers: [any Layer]) {
    require(!layers.isEmpty, "a sequence has at least one layer")
    self.layers = layers
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    var shape = input
    for layer in layers { shape = try plan.build(layer, on: shape) }
    return shape
  }

  /// Only its layers are noted.
  package var summary: String? { nil }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float> {
    var outputs = try layers[0].forward(inputs, pass)
    for layer in layers.dropFirst() {
      pass.betweenLayers?()
      outputs = try layer.forward(outputs, pass)
    }
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>? {
    var gradient = gradient
    for layer in layers.reversed() {
      guard let next = try layer.backward(gradient, pass) else { return nil }
      pass.betweenLayers?()
      gradient = next
    }
    return gradient
  }
}
