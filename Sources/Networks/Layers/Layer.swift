package import Buffers

/// One layer of a ``ComposedNetwork``: what it makes of its input, and of the gradient of its output.
///
/// A layer is built once and then runs forward and backward in turn; a pass throws only if it has to hear from other ranks. It
/// keeps no parameters, only where they lie in the flat buffers, and what its backward pass reads of the forward pass before
/// it.
package protocol Layer: AnyObject {
  /// What the layer is, in a few words for a table; nil for one that is only its parts. Read after `build`.
  var summary: String? { get }

  /// Checks the shape of the inputs and declares in `plan` what the layer needs.
  ///
  /// - Returns: The shape of the outputs.
  /// - Throws: `SpecificationError`, one sentence, if the layer cannot read such inputs.
  func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape

  /// The outputs of a minibatch; valid until the next forward pass.
  func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>

  /// The gradient of the inputs, from that of the outputs; sets the gradients of the layer's tensors and says that they are ready.
  ///
  /// - Parameters:
  ///   - gradient: Of the shape of the outputs; the layer may overwrite it.
  ///   - pass: That of the forward pass before.
  /// - Returns: The gradient of the inputs, perhaps in the same memory; nil if there is no tensor before this layer.
  func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>?
}

extension Layer {
  /// The name of the type, unless a layer says more.
  package var summary: String? { "\(type(of: self))" }
}
