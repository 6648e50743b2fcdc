package import Buffers

/// outputs = activation(inputs · Wᵀ + b), with weights *W* of outputs × inputs.
///
/// An image is read as its values in memory order, or pixel by pixel with the same weights, as the positions of a text are. The
/// activation is computed in the pass that adds the biases, and its derivative in the one that sums their gradient.
package final class Linear: Layer {
  private let outputCount: Int
  private let activation: Activation?
  private let isForEachPixel: Bool
  private let start: Initialization
  private var inputCount = 0
  /// The rows of a sample.
  private var rowCount = 1
  private var needsInputGradient = false
  private var tensors: (weights: Plan.Tensor, biases: Plan.Tensor)!
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// A layer of `outputCount` units.
  package init(
    _ outputCount: Int, _ activation: Activation? = nil, forEachPixel: Bool = false, start: Initialization = .uniform
  ) {
    (self.outputCount, self.activation, isForEachPixel, self.start) = (outputCount, activation, forEachPixel, start)
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    if isForEachPixel { rowCount = input.pixelCount }
    inputCount = input.count / rowCount
    needsInputGradient = plan.needsInputGradient
    tensors = plan.declareWeights([outputCount, inputCount], start: start)
    let shape = SampleShape(
      height: isForEachPixel ? input.height : 1, width: isForEachPixel ? input.width : 1, channels: outputCount)
    output = plan.declareOutputs(shape)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    let rowCount = pass.sampleCount * rowCount
    MatrixProducts.multiply(
      inputs, pass.parameters(of: tensors.weights), transposingB: true, rowCount: rowCount, columnCount: outputCount,
      innerCount: inputCount, into: outputs)
    let biases = pass.parameters(of: tensors.biases)
    if let activation {
      activation.forward(outputs, biases: biases, rowCount: rowCount, columnCount: outputCount)
    } else {
      addBiases(outputs, biases: biases, rowCount: rowCount, columnCount: outputCount)
    }
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("a linear layer goes backward before forward") }
    let rowCount = pass.sampleCount * rowCount
    let biasGradient = pass.gradient(of: tensors.biases)
    var delta = gradient
    if let activation {
      // Nothing reads the outputs any more.
      delta = pass.outputs(output)
      activation.backward(
        delta, incoming: gradient, rowCount: rowCount, columnCount: outputCount, biasGradient: biasGradient)
    } else {
      columnSums(of: gradient, rowCount: rowCount, columnCount: outputCount, into: biasGradient)
    }
    MatrixProducts.multiply(
      delta, inputs, transposingA: true, rowCount: outputCount, columnCount: inputCount, innerCount: rowCount,
      into: pass.gradient(of: tensors.weights))
    pass.ready(tensors.weights, tensors.biases)
    guard needsInputGradient else { return nil }
    pass.betweenLayers?()
    let result = pass.inputGradient(besides: delta)
    MatrixProducts.multiply(
      delta, pass.parameters(of: tensors.weights), rowCount: rowCount, columnCount: inputCount, innerCount: outputCount,
      into: result)
    return result
  }
}
