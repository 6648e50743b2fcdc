package import Buffers

/// outputs = activation(inputs · Wᵀ + b), with weights *W* of outputs × inputs.
///
/// An image is read as its values in memory order, or pixel by pixel with the same weights, as the positions of a text are. The
/// activation is computed in the pass that adds the biases, and its derivative in the one that sums their gradient. A layer without
/// biases has no activation.
package final class Linear: Layer {
  private let outputCount: Int
  private let activation: Activation?
  private let isForEachPixel: Bool
  private let start: Initialization
  private let bound: Float?
  private let hasBiases: Bool
  private var inputCount = 0
  /// The rows of a sample.
  private var rowCount = 1
  private var needsInputGradient = false
  private var tensors: (weights: Plan.Tensor, biases: Plan.Tensor?)!
  private var output: Plan.Output!
  /// What the activation was computed from, if its derivative is not known from its value.
  private var linearPart: Plan.Output?
  private var inputs: UnsafePointer<Float>?

  /// A layer of `outputCount` units; with `bound`, weights are drawn uniform in ±`bound` and biases are zero, whatever `start` is.
  package init(
    _ outputCount: Int, _ activation: Activation? = nil, forEachPixel: Bool = false, hasBiases: Bool = true,
    start: Initialization = .uniform, bound: Float? = nil
  ) {
    require(hasBiases || activation == nil, "a linear layer with an activation has biases")
    (self.outputCount, self.activation, isForEachPixel, self.hasBiases) = (outputCount, activation, forEachPixel, hasBiases)
    (self.start, self.bound) = (start, bound)
  }

  package var summary: String? {
    "linear \(inputCount) → \(outputCount)\(hasBiases ? "" : " without biases")\(activation.map { ", \($0)" } ?? "")"
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    if isForEachPixel { rowCount = input.pixelCount }
    inputCount = input.count / rowCount
    needsInputGradient = plan.needsInputGradient
    if !hasBiases || bound != nil {
      let bound = bound ?? start.bounds(inputCount: inputCount, outputCount: outputCount).weights
      let weights = ("weights", [outputCount, inputCount], Plan.Start.uniform(bound))
      let declared = plan.declare(hasBiases ? [weights, ("biases", [outputCount], .constant(0))] : [weights])
      tensors = (declared[0], hasBiases ? declared[1] : nil)
    } else {
      tensors = plan.declareWeights([outputCount, inputCount], start: start)
    }
    let shape = SampleShape(
      height: isForEachPixel ? input.height : 1, width: isForEachPixel ? input.width : 1, channels: outputCount)
    output = plan.declareOutputs(shape)
    if activation?.readsInputsBackward ?? false { linearPart = plan.declareOutputs(shape) }
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    let products = linearPart.map(pass.outputs) ?? outputs
    let rowCount = pass.sampleCount * rowCount
    MatrixProducts.multiply(
      inputs, pass.parameters(of: tensors.weights), transposingB: true, rowCount: rowCount, columnCount: outputCount,
      innerCount: inputCount, into: products)
    guard let biases = tensors.biases.map(pass.parameters) else { return outputs }
    if let activation, linearPart != nil {
      addBiases(products, biases: biases, rowCount: rowCount, columnCount: outputCount)
      activation.forward(products, count: rowCount * outputCount, into: outputs)
    } else if let activation {
      activation.forward(outputs, biases: biases, rowCount: rowCount, columnCount: outputCount)
    } else {
      addBiases(outputs, biases: biases, rowCount: rowCount, columnCount: outputCount)
    }
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("a linear layer goes backward before forward") }
    let rowCount = pass.sampleCount * rowCount
    let biasGradient = tensors.biases.map(pass.gradient)
    var delta = gradient
    if let activation, let biasGradient {
      // Nothing reads them any more.
      delta = pass.outputs(linearPart ?? output)
      activation.backward(
        delta, incoming: gradient, rowCount: rowCount, columnCount: outputCount, biasGradient: biasGradient)
    } else if let biasGradient {
      columnSums(of: gradient, rowCount: rowCount, columnCount: outputCount, into: biasGradient)
    }
    MatrixProducts.multiply(
      delta, inputs, transposingA: true, rowCount: outputCount, columnCount: inputCount, innerCount: rowCount,
      into: pass.gradient(of: tensors.weights))
    pass.ready(tensors.weights)
    if let biases = tensors.biases { pass.ready(biases) }
    guard needsInputGradient else { return nil }
    pass.betweenLayers?()
    let result = pass.inputGradient(besides: delta)
    MatrixProducts.multiply(
      delta, pass.parameters(of: tensors.weights), rowCount: rowCount, columnCount: inputCount, innerCount: outputCount,
      into: result)
    return result
  }
}
