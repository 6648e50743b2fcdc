package import Buffers

/// outputs = inputs · Wᵀ + b, with weights *W* of outputs × inputs; an image is read as its values in memory order.
package final class Linear: Layer {
  private let outputCount: Int
  private let start: Initialization
  private var inputCount = 0
  private var needsInputGradient = false
  private var tensors: (weights: Plan.Tensor, biases: Plan.Tensor)!
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// A layer of `outputCount` units.
  package init(_ outputCount: Int, start: Initialization = .uniform) {
    (self.outputCount, self.start) = (outputCount, start)
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    inputCount = input.count
    needsInputGradient = plan.needsInputGradient
    tensors = plan.declareWeights([outputCount, inputCount], start: start)
    let shape = SampleShape(height: 1, width: 1, channels: outputCount)
    output = plan.declareOutputs(shape)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    GeneratedProducts.multiply(
      inputs, pass.parameters(of: tensors.weights), transposingB: true, rowCount: pass.sampleCount, columnCount: outputCount,
      innerCount: inputCount, into: outputs)
    addBiases(
      outputs, biases: pass.parameters(of: tensors.biases), rowCount: pass.sampleCount, columnCount: outputCount)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("a linear layer goes backward before forward") }
    GeneratedProducts.multiply(
      gradient, inputs, transposingA: true, rowCount: outputCount, columnCount: inputCount, innerCount: pass.sampleCount,
      into: pass.gradient(of: tensors.weights))
    columnSums(
      of: gradient, rowCount: pass.sampleCount, columnCount: outputCount, into: pass.gradient(of: tensors.biases))
    pass.ready(tensors.weights, tensors.biases)
    guard needsInputGradient else { return nil }
    let result = pass.inputGradient(besides: gradient)
    GeneratedProducts.multiply(
      gradient, pass.parameters(of: tensors.weights), rowCount: pass.sampleCount, columnCount: inputCount,
      innerCount: outputCount, into: result)
    return result
  }
}
