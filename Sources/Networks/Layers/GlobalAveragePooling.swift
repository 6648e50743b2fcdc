package import Buffers

/// The mean of each channel over all pixels of a sample.
package final class GlobalAveragePooling: Layer {
  private var input: SampleShape!
  private var needsInputGradient = false
  private var output: Plan.Output!

  /// A layer without parameters.
  package init() {}

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    self.input = input
    needsInputGradient = plan.needsInputGradient
    let shape = SampleShape(height: 1, width: 1, channels: input.channels)
    output = plan.declareOutputs(shape)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    let outputs = pass.outputs(output)
    averageRows(
      inputs, sampleCount: pass.sampleCount, rowCount: input.pixelCount, columnCount: input.channels, into: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard needsInputGradient else { return nil }
    let result = pass.inputGradient(besides: gradient)
    distributeToRows(
      gradient, sampleCount: pass.sampleCount, rowCount: input.pixelCount, columnCount: input.channels, into: result)
    return result
  }
}
