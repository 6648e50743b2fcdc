public import Buffers

/// Linear layers with an activation between them and a softmax at the end; without hidden layers, softmax regression.
///
/// Samples are rows: with weights *W* of outputs × inputs, a layer computes activation(*X*·*W*ᵀ + *b*). Every product is one
/// BLAS call, whose result goes where it is needed: weight gradients directly into the flat gradient. `scale` is applied to the
/// output's delta, so that nothing is scaled afterwards. Activations are allocated for the largest minibatch seen.
public final class MultilayerPerceptron: Network {
  public let layout: TensorLayout
  public let inputCount: Int
  public let classCount: Int
  /// The activation between the layers.
  public let activation: Activation
  /// How parameters are drawn.
  public let start: Initialization
  public var betweenLayers: (() -> Void)?

  /// A linear layer: its shape, and its tensors as indices of the layout.
  private struct Layer {
    let inputCount: Int
    let outputCount: Int
    let weights: Int
    let biases: Int
  }

  /// The layers, from the input on.
  private let layers: [Layer]
  /// The number of samples there is room for.
  private var capacity = 0
  /// For each layer, samples × outputs: its output and, after its backward pass, the delta of its linear part.
  private var outputs: [FloatBuffer] = []
  /// The gradient with respect to a hidden layer's output, samples × outputs.
  private var incoming = FloatBuffer(count: 0)

  /// A network of these layer sizes.
  public init(
    inputCount: Int, hiddenSizes: [Int], classCount: Int, activation: Activation = .relu, start: Initialization = .uniform
  ) {
    let sizes = [inputCount] + hiddenSizes + [classCount]
    require(sizes.allSatisfy { $0 > 0 }, "a layer has at least one value; sizes are \(sizes)")
    var layout = TensorLayout()
    for number in (1..<sizes.count).reversed() {
      layout.append("weights.\(number)", shape: [sizes[number], sizes[number - 1]])
      layout.append("biases.\(number)", shape: [sizes[number]])
    }
    layers = (1..<sizes.count).map { number in
      let weights = 2 * (sizes.count - 1 - number)
      return Layer(inputCount: sizes[number - 1], outputCount: sizes[number], weights: weights, biases: weights + 1)
    }
    self.layout = layout
    self.inputCount = inputCount
    self.classCount = classCount
    self.activation = activation
    self.start = start
  }

  public func sliced(over exchange: any SliceExchange) -> (any SlicedNetwork)? {
    SlicedPerceptron(self, over: exchange)
  }

  public func initialize(_ parameters: FloatBuffer, seed: UInt64) {
    checkCount(of: parameters)
    let random = Philox(seed: seed, purpose: .initialization)
    for layer in layers {
      let bounds = start.bounds(inputCount: layer.inputCount, outputCount: layer.outputCount)
      for (tensor, bound) in [(layer.weights, bounds.weights), (layer.biases, bounds.biases)] {
        drawUniform(parameters.values(in: layout.tensors[tensor].range), bound: bound, from: random, tensor: tensor)
      }
    }
  }

  public func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) -> BatchResult {
    checkCount(of: gradient)
    guard batch.count > 0 else { return gradientOfNoSamples(into: gradient, ready: ready) }
    forward(batch, parameters)
    let rowCount = batch.count
    let delta = outputs[layers.count - 1].baseAddress
    let (lossSum, correct) = softmaxGradient(
      delta, labels: batch.labels, rowCount: rowCount, classCount: classCount, scale: scale)
    columnSums(
      of: delta, rowCount: rowCount, columnCount: classCount, into: address(of: layers[layers.count - 1].biases, in: gradient))

    for (index, layer) in layers.enumerated().reversed() {
      let delta = outputs[index].baseAddress
      let inputs = index > 0 ? outputs[index - 1].baseAddress : batch.inputs.baseAddress
      // The last reader of this layer's inputs: if they are activations, their own delta replaces them below.
      multiplyTransposed(
        delta, inputs, rowCount: layer.outputCount, columnCount: layer.inputCount, innerCount: rowCount,
        into: address(of: layer.weights, in: gradient))
      ready(layer.weights)
      ready(layer.biases)
      guard index > 0 else { break }
      betweenLayers?()
      multiply(
        delta, address(of: layer.weights, in: parameters), rowCount: rowCount, columnCount: layer.inputCount,
        innerCount: layer.outputCount, into: incoming.baseAddress)
      activation.backward(
        inputs, incoming: incoming.baseAddress, rowCount: rowCount, columnCount: layer.inputCount,
        biasGradient: address(of: layers[index - 1].biases, in: gradient))
      betweenLayers?()
    }
    return BatchResult(lossSum: lossSum, correct: correct, count: rowCount)
  }

  public func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer? = nil) -> BatchResult {
    guard batch.count > 0 else { return BatchResult() }
    if let logPosteriors {
      require(
        logPosteriors.count >= batch.count * classCount,
        "log posteriors of \(batch.count) samples and \(classCount) classes do not fit in \(logPosteriors.count) values")
    }
    forward(batch, parameters)
    let (lossSum, correct) = softmaxLoss(
      outputs[layers.count - 1].baseAddress, labels: batch.labels, rowCount: batch.count, classCount: classCount,
      logPosteriors: logPosteriors?.baseAddress)
    return BatchResult(lossSum: lossSum, correct: correct, count: batch.count)
  }

  /// Fills `outputs`: activations of the hidden layers, and the logits.
  private func forward(_ batch: Minibatch, _ parameters: FloatBuffer) {
    checkCount(of: parameters)
    require(
      batch.featureCount == inputCount, "samples of \(batch.featureCount) values for a network of \(inputCount) inputs")
    require(batch.count <= batch.capacity, "\(batch.count) samples in a minibatch of \(batch.capacity)")
    reserve(batch.count)
    var inputs = batch.inputs.baseAddress
    for (index, layer) in layers.enumerated() {
      let output = outputs[index].baseAddress
      multiplyByTransposed(
        inputs, address(of: layer.weights, in: parameters), rowCount: batch.count, columnCount: layer.outputCount,
        innerCount: layer.inputCount, into: output)
      let biases = address(of: layer.biases, in: parameters)
      if index < layers.count - 1 {
        activation.forward(output, biases: biases, rowCount: batch.count, columnCount: layer.outputCount)
      } else {
        addBiases(output, biases: biases, rowCount: batch.count, columnCount: layer.outputCount)
      }
      inputs = output
      betweenLayers?()
    }
  }

  /// Makes room for `count` samples.
  private func reserve(_ count: Int) {
    guard count > capacity else { return }
    capacity = count
    outputs = layers.map { FloatBuffer(count: count * $0.outputCount) }
    incoming = FloatBuffer(count: count * (layers.dropLast().map(\.outputCount).max() ?? 0))
  }

  private func address(of tensor: Int, in buffer: FloatBuffer) -> UnsafeMutablePointer<Float> {
    buffer.baseAddress + layout.tensors[tensor].range.lowerBound
  }

  private func checkCount(of buffer: FloatBuffer) {
    require(buffer.count == layout.count, "a buffer of \(buffer.count) values for a layout of \(layout.count)")
  }
}
