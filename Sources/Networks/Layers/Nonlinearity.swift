package import Buffers

/// An activation function of each value.
package final class Nonlinearity: Layer {
  private let activation: Activation
  private var valueCount = 0
  private var needsInputGradient = false
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// This function.
  package init(_ activation: Activation) { self.activation = activation }

  package var summary: String? { activation.rawValue }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    valueCount = input.count
    needsInputGradient = plan.needsInputGradient
    output = plan.declareOutputs(input)
    return input
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    activation.forward(inputs, count: pass.sampleCount * valueCount, into: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard needsInputGradient else { return nil }
    guard let inputs else { fatalError("an activation goes backward before forward") }
    let kept = activation.readsInputsBackward ? inputs : UnsafePointer(pass.outputs(output))
    activation.backward(kept, count: pass.sampleCount * valueCount, gradient: gradient)
    return gradient
  }
}
