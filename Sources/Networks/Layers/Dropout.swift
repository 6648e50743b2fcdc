package import Buffers

/// Sets each value to 0 with some probability in training, and multiplies the others so that the expectation stays; the identity
/// when evaluating, and for samples without a place in a run.
///
/// What is dropped follows from the seed, the step and the place of a sample among those of the step: it is the same however many
/// ranks share them. The bits are kept for the backward pass.
/// Source: Srivastava et al. 2014; algorithms §16.1.
package final class Dropout: Layer {
  private let rate: Double
  private var valueCount = 0
  private var number = 0
  private var needsInputGradient = false
  private var output: Plan.Output!
  private var mask = RandomMask(rowLength: 0)
  /// Whether the last pass dropped values.
  private var isDropping = false

  /// Drops values with a probability of `rate`, below 1.
  package init(_ rate: Double) {
    require(0 <= rate && rate < 1, "dropout with a probability of \(rate)")
    self.rate = rate
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    valueCount = input.count
    needsInputGradient = plan.needsInputGradient
    number = plan.declareMask()
    output = plan.declareOutputs(input)
    mask = RandomMask(rowLength: valueCount)
    return input
  }

  private var scale: Float { Float(1 / (1 - rate)) }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    let outputs = pass.outputs(output)
    guard case .training(let origin?) = pass.mode, rate > 0 else {
      isDropping = false
      outputs.update(from: inputs, count: pass.sampleCount * valueCount)
      return outputs
    }
    isDropping = true
    mask.draw(rowCount: pass.sampleCount, keeping: 1 - rate, tensor: number) { origin.random(.dropout, row: $0) }
    mask.apply(inputs, rowCount: pass.sampleCount, scale: scale, into: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard needsInputGradient else { return nil }
    if isDropping { mask.apply(gradient, rowCount: pass.sampleCount, scale: scale, into: gradient) }
    return gradient
  }
}

/// The weights of a linear layer with some of them 0 in a step, and the others multiplied so that the expectation stays.
///
/// The mask is that of the step, the same for all samples and on all ranks; when evaluating, and for samples without a place in a run,
/// all weights count.
/// Source: Wan et al. 2013, with one mask for a minibatch; algorithms §16.1.
final class DropConnect {
  private let rate: Double
  private var number = 0
  private var mask = RandomMask(rowLength: 0)
  private var masked = FloatBuffer(count: 0)
  private var isDropping = false

  /// Drops weights with a probability of `rate`, below 1.
  init(_ rate: Double) {
    require(0 <= rate && rate < 1, "DropConnect with a probability of \(rate)")
    self.rate = rate
  }

  /// Declares the mask of `weightCount` weights.
  func build(weightCount: Int, _ plan: inout Plan) {
    number = plan.declareMask()
    mask = RandomMask(rowLength: weightCount)
    masked = FloatBuffer(count: weightCount)
  }

  /// Draws the weights that count in a pass.
  func draw(_ weights: UnsafePointer<Float>, _ pass: Pass) {
    guard case .training(let origin?) = pass.mode else {
      isDropping = false
      return
    }
    isDropping = true
    mask.draw(rowCount: 1, keeping: 1 - rate, tensor: number) { _ in origin.random(.dropConnect) }
    mask.apply(weights, rowCount: 1, scale: scale, into: masked.baseAddress)
  }

  /// The weights of this pass; nil if all count.
  var weights: UnsafePointer<Float>? { isDropping ? UnsafePointer(masked.baseAddress) : nil }

  /// Turns the gradient of the weights of this pass into that of all.
  func mask(_ gradient: UnsafeMutablePointer<Float>) {
    if isDropping { mask.apply(gradient, rowCount: 1, scale: scale, into: gradient) }
  }

  private var scale: Float { Float(1 / (1 - rate)) }
}
