package import Buffers

/// The largest value of each channel in windows that lie side by side; the rest of an image that fills no window is not read.
///
/// The gradient goes to the first of the largest values.
package final class MaxPooling: Layer {
  private let window: Int
  private var input: SampleShape!
  private var needsInputGradient = false
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?

  /// Windows of `window` × `window` pixels.
  package init(_ window: Int) {
    require(window > 0, "windows of \(window) pixels")
    self.window = window
  }

  package var summary: String? { "max pooling \(window)×\(window)" }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    guard window <= min(input.height, input.width) else {
      throw SpecificationError("pooling \(window)×\(window) does not fit on \(input.height)×\(input.width)")
    }
    self.input = input
    needsInputGradient = plan.needsInputGradient
    let shape = SampleShape(height: input.height / window, width: input.width / window, channels: input.channels)
    output = plan.declareOutputs(shape)
    return shape
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let outputs = pass.outputs(output)
    poolMaxima(
      inputs, sampleCount: pass.sampleCount, height: input.height, width: input.width, channels: input.channels,
      window: window, into: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("pooling goes backward before forward") }
    guard needsInputGradient else { return nil }
    let result = pass.inputGradient(besides: gradient)
    distributeToMaxima(
      inputs, pass.outputs(output), gradient, sampleCount: pass.sampleCount, height: input.height, width: input.width,
      channels: input.channels, window: window, into: result)
    return result
  }
}
