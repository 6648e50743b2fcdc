package import Buffers

/// A convolution: at each place, every filter's sum over the pixels under it, times its weights, plus its bias.
///
/// Weights are filters × channels × height × width, as in PyTorch, so that a row is a filter; activations are channels-last.
package final class Convolution: Layer {
  private let filterCount: Int
  private let kernel: (height: Int, width: Int)
  private let stride: Int
  private let padding: Int
  private let start: Initialization
  private let hasBiases: Bool
  private var geometry: ConvolutionGeometry!
  private var needsInputGradient = false
  private var tensors: (weights: Plan.Tensor, biases: Plan.Tensor?)!
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?
  private var cache: [CacheKey: ConvolutionPasses] = [:]

  /// What oneDNN prepares code for.
  private struct CacheKey: Hashable {
    let sampleCount: Int
    let threadCount: Int
  }
  /// The sizes of minibatches for which code is kept: a whole one, the last of an epoch, those of an evaluation, and some more.
  private static let cacheLimit = 8

  /// `filterCount` filters of `kernel` pixels, without biases where a normalization follows.
  package init(
    _ filterCount: Int, kernel: (height: Int, width: Int), stride: Int = 1, padding: Int = 0, start: Initialization = .uniform,
    hasBiases: Bool = true
  ) {
    require(stride > 0 && padding >= 0, "a convolution with stride \(stride) and padding \(padding)")
    (self.filterCount, self.kernel, self.stride, self.padding, self.start) = (filterCount, kernel, stride, padding, start)
    self.hasBiases = hasBiases
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) throws(SpecificationError) -> SampleShape {
    guard
      let geometry = ConvolutionGeometry(
        input: input, filterCount: filterCount, kernel: kernel, stride: stride, padding: padding)
    else {
      throw SpecificationError(
        "convolution \(kernel.height)×\(kernel.width)\(padding > 0 ? " with padding \(padding)" : "") does not fit on "
          + "\(input.height)×\(input.width)")
    }
    self.geometry = geometry
    needsInputGradient = plan.needsInputGradient
    let (shape, reach) = (geometry.weightShape, kernel.height * kernel.width)
    if hasBiases {
      tensors = plan.declareWeights(shape, start: start, reach: reach)
    } else {
      tensors = (plan.declareWeightsAlone(shape, start: start, reach: reach), nil)
    }
    output = plan.declareOutputs(geometry.output)
    return geometry.output
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    let passes = passes(for: pass.sampleCount)
    let outputs = pass.outputs(output)
    passes.forward(
      inputs, weights: pass.parameters(of: tensors.weights), biases: tensors.biases.map(pass.parameters), into: outputs,
      scratch: pass.scratch(passes.scratchByteCount))
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("a convolution goes backward before forward") }
    let passes = passes(for: pass.sampleCount)
    let scratch = pass.scratch(passes.scratchByteCount)
    passes.gradients(
      inputs, gradient, weights: pass.gradient(of: tensors.weights), biases: tensors.biases.map(pass.gradient), scratch: scratch
    )
    pass.ready(tensors.weights)
    if let biases = tensors.biases { pass.ready(biases) }
    guard needsInputGradient else { return nil }
    pass.betweenLayers?()
    let result = pass.inputGradient(besides: gradient)
    passes.backward(gradient, weights: pass.parameters(of: tensors.weights), into: result, scratch: scratch)
    return result
  }

  /// The prepared passes for minibatches of this size.
  private func passes(for sampleCount: Int) -> ConvolutionPasses {
    let key = CacheKey(sampleCount: sampleCount, threadCount: productThreadCount)
    if let passes = cache[key] { return passes }
    if cache.count == Convolution.cacheLimit { cache.removeAll() }
    let passes = ConvolutionPasses(geometry, sampleCount: sampleCount, givesInputGradient: needsInputGradient)
    cache[key] = passes
    return passes
  }
}
