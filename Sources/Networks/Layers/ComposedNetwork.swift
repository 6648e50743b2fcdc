package import Buffers

/// A network of layers with a softmax at the end.
///
/// The gradient of the output layer replaces its outputs, so that the last layer is one that does not read them backward: a linear one.
package final class ComposedNetwork: Network {
  package let layout: TensorLayout
  package let inputCount: Int
  package let classCount: Int
  package var betweenLayers: (() -> Void)?

  private let layers: any Layer
  /// The largest magnitude that each tensor of the layout is drawn with.
  private let bounds: [Float]
  private let pass: Pass

  /// The network that `layers` make of samples of shape `input`.
  ///
  /// Throws `SpecificationError` if a layer does not fit on what comes before it, or if there are more than `parameterLimit`
  /// parameters.
  package init(_ layers: any Layer, input: SampleShape, parameterLimit: Int = .max) throws(SpecificationError) {
    var plan = Plan()
    let output = try layers.build(input, &plan)
    guard plan.parameterCount <= parameterLimit else {
      throw SpecificationError("it has \(plan.parameterCount) parameters; at most \(parameterLimit) are possible")
    }
    let (layout, places, bounds) = plan.arrangement
    (self.layers, self.layout, self.bounds) = (layers, layout, bounds)
    (inputCount, classCount) = (input.count, output.count)
    pass = Pass(plan, layout: layout, places: places)
  }

  package func initialize(_ parameters: FloatBuffer, seed: UInt64) {
    checkCount(of: parameters)
    let random = Philox(seed: seed, purpose: .initialization)
    for (index, tensor) in layout.tensors.enumerated() {
      drawUniform(parameters.values(in: tensor.range), bound: bounds[index], from: random, tensor: index)
    }
  }

  package func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) -> BatchResult {
    checkCount(of: gradient)
    guard batch.count > 0 else { return gradientOfNoSamples(into: gradient, ready: ready) }
    let logits = forward(batch, parameters)
    let (lossSum, correct) = softmaxGradient(
      logits, labels: batch.labels, rowCount: batch.count, classCount: classCount, scale: scale)
    pass.withGradient(gradient, report: ready) { _ = layers.backward(logits, pass) }
    return BatchResult(lossSum: lossSum, correct: correct, count: batch.count)
  }

  package func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer?) -> BatchResult {
    if let logPosteriors {
      require(
        logPosteriors.count >= batch.count * classCount,
        "\(logPosteriors.count) values for the posteriors of \(batch.count) samples and \(classCount) classes")
    }
    guard batch.count > 0 else { return BatchResult() }
    let logits = forward(batch, parameters)
    let (lossSum, correct) = softmaxLoss(
      logits, labels: batch.labels, rowCount: batch.count, classCount: classCount, logPosteriors: logPosteriors?.baseAddress)
    return BatchResult(lossSum: lossSum, correct: correct, count: batch.count)
  }

  /// The logits of a minibatch.
  private func forward(_ batch: Minibatch, _ parameters: FloatBuffer) -> UnsafeMutablePointer<Float> {
    checkCount(of: parameters)
    require(
      batch.featureCount == inputCount, "samples of \(batch.featureCount) values for a network of \(inputCount) inputs")
    require(batch.count <= batch.capacity, "\(batch.count) samples in a minibatch of \(batch.capacity)")
    pass.begin(sampleCount: batch.count, parameters: parameters, betweenLayers: betweenLayers)
    let logits = layers.forward(batch.inputs.baseAddress, pass)
    betweenLayers?()
    return logits
  }

  private func checkCount(of buffer: FloatBuffer) {
    require(buffer.count == layout.count, "a buffer of \(buffer.count) values for a layout of \(layout.count)")
  }
}
