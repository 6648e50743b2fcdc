package import Buffers

/// outputs = activation(inputs · Wᵀ + b), with weights *W* of outputs × inputs.
///
/// An image is read as its values in memory order, or pixel by pixel with the same weights, as the positions of a text are. The
/// activation is computed in the pass that adds the biases, and its derivative in the one that sums their gradient. With DropConnect
/// some of the weights count as 0 in a step, the same for all its samples.
package final class Linear: Layer {
  private let outputCount: Int
  private let activation: Activation?
  private let isForEachPixel: Bool
  private let start: Initialization
  private let bias: Float?
  private let hasBiases: Bool
  private let dropConnect: DropConnect?
  private var inputCount = 0
  /// The rows of a sample.
  private var rowCount = 1
  private var needsInputGradient = false
  private var tensors: (weights: Plan.Tensor, biases: Plan.Tensor?)!
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// A layer of `outputCount` units.
  ///
  /// - Parameters:
  ///   - outputCount: The number of units.
  ///   - activation: The activation after it.
  ///   - isForEachPixel: Whether each pixel is read by itself.
  ///   - start: How the weights, and the biases unless `bias` says so, are drawn.
  ///   - bias: What all biases start at.
  ///   - hasBiases: Whether there are biases; a layer without them has no activation.
  ///   - dropConnect: The share of the weights that do not count in a step.
  package init(
    _ outputCount: Int, _ activation: Activation? = nil, forEachPixel isForEachPixel: Bool = false,
    start: Initialization = .uniform, bias: Float? = nil, hasBiases: Bool = true, dropConnect: Double = 0
  ) {
    require(hasBiases || activation == nil, "an activation comes with the biases")
    (self.outputCount, self.activation, self.isForEachPixel) = (outputCount, activation, isForEachPixel)
    (self.start, self.bias, self.hasBiases) = (start, bias, hasBiases)
    self.dropConnect = dropConnect > 0 ? DropConnect(dropConnect) : nil
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    if isForEachPixel { rowCount = input.pixelCount }
    inputCount = input.count / rowCount
    needsInputGradient = plan.needsInputGradient
    let shape = [outputCount, inputCount]
    if hasBiases {
      tensors = plan.declareWeights(shape, start: start, bias: bias)
    } else {
      tensors = (plan.declareWeightsAlone(shape, start: start), nil)
    }
    dropConnect?.build(weightCount: outputCount * inputCount, &plan)
    let result = SampleShape(
      height: isForEachPixel ? input.height : 1, width: isForEachPixel ? input.width : 1, channels: outputCount)
    output = plan.declareOutputs(result)
    return result
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    let rowCount = pass.sampleCount * rowCount
    dropConnect?.draw(pass.parameters(of: tensors.weights), pass)
    MatrixProducts.multiply(
      inputs, weights(pass), transposingB: true, rowCount: rowCount, columnCount: outputCount, innerCount: inputCount,
      into: outputs)
    guard let biases = tensors.biases.map(pass.parameters) else { return outputs }
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
    var delta = gradient
    if let activation, let biasGradient = tensors.biases.map(pass.gradient) {
      // Nothing reads the outputs any more.
      delta = pass.outputs(output)
      activation.backward(
        delta, incoming: gradient, rowCount: rowCount, columnCount: outputCount, biasGradient: biasGradient)
    } else if let biasGradient = tensors.biases.map(pass.gradient) {
      columnSums(of: gradient, rowCount: rowCount, columnCount: outputCount, into: biasGradient)
    }
    MatrixProducts.multiply(
      delta, inputs, transposingA: true, rowCount: outputCount, columnCount: inputCount, innerCount: rowCount,
      into: pass.gradient(of: tensors.weights))
    dropConnect?.mask(pass.gradient(of: tensors.weights))
    pass.ready(tensors.weights)
    if let biases = tensors.biases { pass.ready(biases) }
    guard needsInputGradient else { return nil }
    pass.betweenLayers?()
    let result = pass.inputGradient(besides: delta)
    MatrixProducts.multiply(
      delta, weights(pass), rowCount: rowCount, columnCount: inputCount, innerCount: outputCount, into: result)
    return result
  }

  /// The weights that count in this pass.
  private func weights(_ pass: Pass) -> UnsafePointer<Float> {
    dropConnect?.weights ?? pass.parameters(of: tensors.weights)
  }
}
