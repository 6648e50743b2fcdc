package import Buffers

/// The values of each pixel, or of each position of a text, at mean 0 and variance 1, then times a gain and plus a shift for each
/// channel.
///
/// The variance is that of the values themselves, with 1e-5 added; gains start at 1 and shifts at 0. Source: Ba, Kiros and Hinton
/// 2016.
package final class LayerNormalization: Layer {
  private var rowCount = 0
  private var columnCount = 0
  private var tensors: (gain: Plan.Tensor, shift: Plan.Tensor)!
  private var output: Plan.Output!
  /// The mean and the inverse deviation of each row.
  private var statistics: Plan.Output!
  private var needsInputGradient = false
  private var inputs: UnsafePointer<Float>?

  /// A layer of this kind.
  package init() {}

  package var summary: String? { "layer normalization" }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    (rowCount, columnCount) = (input.pixelCount, input.channels)
    needsInputGradient = plan.needsInputGradient
    let declared = plan.declare([("weight", [columnCount], .constant(1)), ("bias", [columnCount], .constant(0))])
    tensors = (declared[0], declared[1])
    output = plan.declareOutputs(input)
    statistics = plan.declareMemory(2 * rowCount)
    return input
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    normalizeRows(
      inputs, rowCount: pass.sampleCount * rowCount, columnCount: columnCount, gain: pass.parameters(of: tensors.gain),
      shift: pass.parameters(of: tensors.shift), into: outputs, statistics: pass.outputs(statistics))
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("a normalization goes backward before forward") }
    differentiateRowNormalization(
      inputs, statistics: pass.outputs(statistics), rowCount: pass.sampleCount * rowCount, columnCount: columnCount,
      gain: pass.parameters(of: tensors.gain), gradient: gradient, gainGradient: pass.gradient(of: tensors.gain),
      shiftGradient: pass.gradient(of: tensors.shift))
    pass.ready(tensors.gain, tensors.shift)
    return needsInputGradient ? gradient : nil
  }
}
