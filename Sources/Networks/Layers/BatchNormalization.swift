package import Buffers

/// outputs = gain · (inputs − mean) / √(variance + 1e-5) + bias, with the mean and the variance of each channel over the pixels of
/// the minibatch; when evaluating, with the running ones.
///
/// ReLU, and the sum with what goes past a residual block, are part of the same two passes forward and two backward. The gradients
/// of gains and biases are sums over this rank's samples, as of all tensors; mean and variance are those of this rank's samples, or
/// if synchronized of all ranks'. A single row is normalized to 0, and learns nothing.
/// Source: Ioffe and Szegedy 2015; algorithms §16.2.
package final class BatchNormalization: Layer {
  /// Added to the variance.
  static let epsilon = 1e-5

  private let isRectified: Bool
  private let isSynchronized: Bool
  private var shape: SampleShape!
  private var needsInputGradient = false
  private var tensors: (gains: Plan.Tensor, biases: Plan.Tensor)!
  private var statistics: Plan.Statistics!
  private var output: Plan.Output!
  private var inputs: UnsafePointer<Float>?
  /// Rows of the last minibatch, over all ranks if they are synchronized.
  private var rowCount = 0.0
  private var means: [Float] = []
  private var inverseDeviations: [Float] = []

  /// A normalization of each channel, with ReLU after it if `relu`.
  package init(relu: Bool = false, isSynchronized: Bool = false) {
    (isRectified, self.isSynchronized) = (relu, isSynchronized)
  }

  package func build(_ input: SampleShape, _ plan: inout Plan) -> SampleShape {
    shape = input
    needsInputGradient = plan.needsInputGradient
    tensors = plan.declareScaling(input.channels)
    statistics = plan.declareStatistics(input, isSynchronized: isSynchronized)
    output = plan.declareOutputs(input)
    return input
  }

  package func forward(_ inputs: UnsafePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float> {
    try forward(inputs, adding: nil, pass)
  }

  /// The same with the sum with `addend`, of the shape of the outputs, before the ReLU.
  func forward(
    _ inputs: UnsafePointer<Float>, adding addend: UnsafePointer<Float>?, _ pass: Pass
  ) throws -> UnsafeMutablePointer<Float> {
    self.inputs = inputs
    guard let running = pass.statistics else { fatalError("a normalization without statistics") }
    let rows = pass.sampleCount * shape.pixelCount
    if case .training = pass.mode {
      let moments = try running.joined(columnMoments(of: inputs, rowCount: rows, columnCount: shape.channels))
      running.propose(moments, of: statistics)
      rowCount = moments.count
      means = moments.means.map { Float($0) }
      inverseDeviations = moments.squares.map { inverseDeviation($0 / moments.count) }
    } else {
      let evaluated = running.evaluated(statistics)
      means = (0..<shape.channels).map { evaluated.means[$0] }
      inverseDeviations = (0..<shape.channels).map { inverseDeviation(Double(evaluated.variances[$0])) }
    }
    let outputs = pass.outputs(output)
    normalizeColumns(
      inputs, means: means, scales: scales(pass), biases: pass.parameters(of: tensors.biases), adding: addend,
      isRectified: isRectified, rowCount: rows, columnCount: shape.channels, into: outputs)
    return outputs
  }

  package func backward(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>? {
    try backward(gradient, pass, into: gradient)
  }

  /// The same into memory of its own, so that `gradient` becomes that of the sum.
  func backwardThroughSum(_ gradient: UnsafeMutablePointer<Float>, _ pass: Pass) throws -> UnsafeMutablePointer<Float>? {
    try backward(gradient, pass, into: pass.inputGradient(besides: gradient))
  }

  private func backward(
    _ gradient: UnsafeMutablePointer<Float>, _ pass: Pass, into result: UnsafeMutablePointer<Float>
  ) throws -> UnsafeMutablePointer<Float>? {
    guard let inputs else { fatalError("a normalization goes backward before forward") }
    guard let running = pass.statistics else { fatalError("a normalization without statistics") }
    let (rows, channels) = (pass.sampleCount * shape.pixelCount, shape.channels)
    let own = sumNormalizedGradient(
      gradient, outputs: isRectified ? pass.outputs(output) : nil, inputs: inputs, means: means,
      inverseDeviations: inverseDeviations, rowCount: rows, columnCount: channels)
    let (gains, biases) = (pass.gradient(of: tensors.gains), pass.gradient(of: tensors.biases))
    for channel in 0..<channels { (biases[channel], gains[channel]) = (Float(own[channel]), Float(own[channels + channel])) }
    pass.ready(tensors.gains, tensors.biases)
    let sums = try running.summed(own)
    guard needsInputGradient else { return nil }
    normalizeGradient(
      gradient, inputs: inputs, means: means, scales: scales(pass),
      first: (0..<channels).map { Float(sums[$0] / rowCount) },
      second: (0..<channels).map { Float(sums[channels + $0] / rowCount * Double(inverseDeviations[$0])) }, rowCount: rows,
      columnCount: channels, into: result)
    return result
  }

  private func inverseDeviation(_ variance: Double) -> Float {
    Float(1 / (variance + BatchNormalization.epsilon).squareRoot())
  }

  /// gain / √(variance + ε).
  private func scales(_ pass: Pass) -> [Float] {
    let gains = pass.parameters(of: tensors.gains)
    return (0..<shape.channels).map { gains[$0] * inverseDeviations[$0] }
  }
}
