package import Buffers

/// A network of layers with a softmax at the end.
///
/// The gradient of the output layer replaces its outputs, so that the last layer is one that does not read them backward: a linear
/// one. An image of logits has a target at each of its pixels.
package final class ComposedNetwork: Network {
  package let layout: TensorLayout
  package let inputCount: Int
  package let classCount: Int
  package let targetCount: Int
  package var betweenLayers: (() -> Void)?

  private let layers: any Layer
  /// How each tensor of the layout starts.
  private let starts: [Plan.Start]
  private let pass: Pass
  private let slice: ((any SliceExchange) -> any SlicedNetwork)?

  /// The network that `layers` make of samples of shape `input`.
  ///
  /// - Parameters:
  ///   - layers: The layers, from the input on.
  ///   - input: The shape of a sample.
  ///   - parameterLimit: The number of parameters that must not be exceeded.
  ///   - codesVectors: Whether codecs encode the gradients of vectors, which travel as floats otherwise.
  ///   - slice: Makes a slice of the same network, if it can be split over ranks.
  /// - Throws: `SpecificationError` if a layer does not fit on what comes before it, or if there are too many parameters.
  package init(
    _ layers: any Layer, input: SampleShape, parameterLimit: Int = .max, codesVectors: Bool = false,
    slicedBy slice: ((any SliceExchange) -> any SlicedNetwork)? = nil
  ) throws(SpecificationError) {
    var plan = Plan(codesVectors: codesVectors)
    let output = try layers.build(input, &plan)
    guard plan.parameterCount <= parameterLimit else {
      throw SpecificationError("it has \(plan.parameterCount) parameters; at most \(parameterLimit) are possible")
    }
    let (layout, places, starts) = plan.arrangement
    (self.layers, self.layout, self.starts, self.slice) = (layers, layout, starts, slice)
    (inputCount, classCount, targetCount) = (input.count, output.channels, output.pixelCount)
    pass = Pass(plan, layout: layout, places: places)
  }

  package var statistics: RunningStatistics? { pass.statistics }

  package func accept() { statistics?.accept() }

  package func sliced(over exchange: any SliceExchange) -> (any SlicedNetwork)? { slice?(exchange) }

  package func initialize(_ parameters: FloatBuffer, seed: UInt64) {
    checkCount(of: parameters)
    let random = Philox(seed: seed, purpose: .initialization)
    for (index, tensor) in layout.tensors.enumerated() {
      let values = parameters.values(in: tensor.range)
      switch starts[index] {
      case .uniform(let bound): drawUniform(values, bound: bound, from: random, tensor: index)
      case .constant(let value): values.update(repeating: value)
      }
    }
  }

  package func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) throws -> BatchResult {
    checkCount(of: gradient)
    guard batch.count > 0 else {
      try statistics?.takePart()
      return gradientOfNoSamples(into: gradient, ready: ready)
    }
    let logits = try forward(batch, parameters, .training(batch.origin))
    let (lossSum, correct) = softmaxGradient(
      logits, labels: batch.labels, rowCount: batch.count * targetCount, classCount: classCount,
      scale: scale / Float(targetCount))
    try pass.withGradient(gradient, report: ready) { _ = try layers.backward(logits, pass) }
    return BatchResult(lossSum: lossSum / Double(targetCount), correct: correct, count: batch.count)
  }

  package func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer?) throws -> BatchResult {
    let rowCount = batch.count * targetCount
    if let logPosteriors {
      require(
        logPosteriors.count >= rowCount * classCount,
        "\(logPosteriors.count) values for the posteriors of \(rowCount) targets and \(classCount) classes")
    }
    guard batch.count > 0 else { return BatchResult() }
    let logits = try forward(batch, parameters, .evaluation)
    let (lossSum, correct) = softmaxLoss(
      logits, labels: batch.labels, rowCount: rowCount, classCount: classCount, logPosteriors: logPosteriors?.baseAddress)
    return BatchResult(lossSum: lossSum / Double(targetCount), correct: correct, count: batch.count)
  }

  /// The logits of a minibatch.
  private func forward(
    _ batch: Minibatch, _ parameters: FloatBuffer, _ mode: Pass.Mode
  ) throws -> UnsafeMutablePointer<Float> {
    checkCount(of: parameters)
    require(
      batch.featureCount == inputCount && batch.targetCount == targetCount,
      "samples of \(batch.featureCount) values and \(batch.targetCount) targets for a network of \(inputCount) inputs and "
        + "\(targetCount) targets")
    require(batch.count <= batch.capacity, "\(batch.count) samples in a minibatch of \(batch.capacity)")
    pass.begin(mode, sampleCount: batch.count, parameters: parameters, betweenLayers: betweenLayers)
    let logits = try layers.forward(batch.inputs.baseAddress, pass)
    betweenLayers?()
    return logits
  }

  private func checkCount(of buffer: FloatBuffer) {
    require(buffer.count == layout.count, "a buffer of \(buffer.count) values for a layout of \(layout.count)")
  }
}
