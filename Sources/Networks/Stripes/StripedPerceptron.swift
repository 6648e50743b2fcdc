internal import Buffers

/// One stripe of a multi-layer perceptron whose layers are split over several ranks by their output units.
///
/// The samples are the same on all stripes. A stripe computes its own columns of a layer's outputs, from the columns of all
/// stripes of the layer below; of the gradient with respect to those it computes what its own units contribute, for each stripe
/// its columns, and adds up what all contribute to its own, in the order of the stripes. The gradient of its weights is its own
/// alone. All stripes compute the same softmax from the same logits.
///
/// - Communication: forward, a layer of n outputs sends B·n·4·(P − 1)/P bytes from each stripe for B samples and P stripes;
///   backward, all but the lowest layer send as much for their inputs. Input deltas leave before the gradient of the weights is
///   computed, so that they travel meanwhile.
///
/// Source: Seide et al. 2014, layer striping; algorithms §1.12.
final class StripedPerceptron: StripedNetwork {
  let stripes: StripedLayout
  let layout: TensorLayout
  let inputCount: Int
  let classCount: Int
  var interlude: (() -> Void)?

  /// A linear layer: the columns of its inputs by blocks, those of its outputs by stripes, and its tensors in the layout.
  struct Layer {
    let inputCount: Int
    /// The samples are one block; activations come in a block from each stripe.
    let inputs: [Range<Int>]
    let outputs: Partition
    let weights: Int
    let biases: Int
  }

  /// From the input on.
  let layers: [Layer]
  let exchange: any StripeExchange
  let stripe: Int
  private let whole: MultilayerPerceptron
  /// The number of samples there is room for.
  private var capacity = 0
  /// The samples that went forward, and backward.
  private var sampleCounts = (forward: 0, backward: 0)
  /// Of each layer, samples × own outputs: the delta of its linear part.
  private var deltas: [FloatBuffer] = []
  /// The gradient with respect to the own outputs of a hidden layer.
  private var incoming = FloatBuffer(count: 0)
  /// The logits of all stripes, samples × classes, and their delta.
  private var logits = FloatBuffer(count: 0)

  /// The stripe of `whole` that `exchange` says.
  init(_ whole: MultilayerPerceptron, over exchange: any StripeExchange) {
    self.whole = whole
    self.exchange = exchange
    stripe = exchange.stripe
    stripes = StripedLayout(whole.layout, into: exchange.stripeCount)
    layout = stripes.layout(of: stripe)
    (inputCount, classCount) = (whole.inputCount, whole.classCount)
    let weights = whole.layout.tensors.indices.filter { whole.layout.tensors[$0].shape.count == 2 }
    var layers: [Layer] = []
    for tensor in weights.reversed() {
      let shape = whole.layout.tensors[tensor].shape
      layers.append(
        Layer(
          inputCount: shape[1], inputs: layers.last?.outputs.ranges ?? [0..<shape[1]],
          outputs: StripedLayout.rows(of: shape[0], into: exchange.stripeCount), weights: tensor, biases: tensor + 1))
    }
    self.layers = layers
  }

  func initialize(_ parameters: FloatBuffer, seed: UInt64) {
    checkCount(of: parameters)
    let random = Philox(seed: seed, purpose: .initialization)
    for layer in layers {
      let rows = layer.outputs[stripe]
      let bounds = whole.start.bounds(inputCount: layer.inputCount, outputCount: layer.outputs.ranges.last!.upperBound)
      let tensors = [
        (layer.weights, bounds.weights, rows.lowerBound * layer.inputCount), (layer.biases, bounds.biases, rows.lowerBound),
      ]
      for (tensor, bound, first) in tensors {
        unsafe drawUniform(
          parameters.values(in: layout.tensors[tensor].range), bound: bound, from: random, tensor: tensor, first: first)
      }
    }
  }

  var predictedBytesSent: Int {
    let bytes = bytesPerSample
    return sampleCounts.forward * bytes.forward + sampleCounts.backward * bytes.backward
  }

  func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) throws -> BatchResult {
    checkCount(of: gradient)
    guard batch.count > 0 else {
      gradient.clear()
      layout.tensors.indices.forEach(ready)
      return BatchResult()
    }
    try forward(batch, parameters)
    sampleCounts.backward += batch.count
    let rowCount = batch.count
    let (lossSum, correct) = unsafe softmaxGradient(
      logits.baseAddress, labels: batch.labels, rowCount: rowCount, classCount: classCount, scale: scale)
    let top = layers[layers.count - 1]
    let own = top.outputs[stripe]
    unsafe copyColumns(
      own, of: logits.baseAddress, columnCount: classCount, rowCount: rowCount, into: deltas[layers.count - 1].baseAddress)
    unsafe columnSums(
      of: deltas[layers.count - 1].baseAddress, rowCount: rowCount, columnCount: own.count,
      into: address(of: top.biases, in: gradient))

    for index in layers.indices.reversed() {
      if index > 0 {
        try shareInputDeltas(of: index, rowCount: rowCount, parameters)
        interlude?()
      }
      try computeWeightGradient(of: index, batch, into: gradient)
      ready(layers[index].weights)
      ready(layers[index].biases)
      guard index > 0 else { break }
      interlude?()
      try computeDelta(of: index - 1, rowCount: rowCount, into: gradient)
    }
    try exchange.end()
    return BatchResult(lossSum: lossSum, correct: correct, count: rowCount)
  }

  func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer? = nil) throws -> BatchResult {
    guard batch.count > 0 else { return BatchResult() }
    if let logPosteriors {
      precondition(
        logPosteriors.count >= batch.count * classCount,
        "log posteriors of \(batch.count) samples and \(classCount) classes do not fit in \(logPosteriors.count) values")
    }
    try forward(batch, parameters)
    try exchange.end()
    let (lossSum, correct) = unsafe softmaxLoss(
      logits.baseAddress, labels: batch.labels, rowCount: batch.count, classCount: classCount,
      logPosteriors: logPosteriors?.baseAddress)
    return BatchResult(lossSum: lossSum, correct: correct, count: batch.count)
  }
}

// MARK: - Passes

extension StripedPerceptron {
  /// Shares the own activations of all layers, and fills `logits` with those of all stripes.
  private func forward(_ batch: Minibatch, _ parameters: FloatBuffer) throws {
    checkCount(of: parameters)
    precondition(
      batch.featureCount == inputCount, "samples of \(batch.featureCount) values for a network of \(inputCount) inputs")
    precondition(batch.count <= batch.capacity, "\(batch.count) samples in a minibatch of \(batch.capacity)")
    try reserve(batch.count)
    try exchange.begin(sampleCount: batch.count)
    sampleCounts.forward += batch.count
    for (index, layer) in layers.enumerated() {
      let own = layer.outputs[stripe].count
      let output = unsafe exchange.values(of: slot(ofOutputs: index))
      if own > 0 {
        try multiplyInputs(of: index, batch, parameters, into: output)
        let biases = unsafe address(of: layer.biases, in: parameters)
        if index < layers.count - 1 {
          unsafe whole.activation.forward(output, biases: biases, rowCount: batch.count, columnCount: own)
        } else {
          unsafe addBiases(output, biases: biases, rowCount: batch.count, columnCount: own)
        }
      }
      try exchange.publish(slot(ofOutputs: index))
      interlude?()
    }
    let top = layers.count - 1
    for (source, columns) in layers[top].outputs.ranges.enumerated() where !columns.isEmpty {
      try unsafe copy(
        exchange.block(slot(ofOutputs: top), from: source), rowCount: batch.count, into: columns, of: logits.baseAddress,
        columnCount: classCount)
    }
  }

  /// outputs = inputs · Wᵀ of the own units, block by block: the own one first, because the others may still be on their way.
  private func multiplyInputs(
    of index: Int, _ batch: Minibatch, _ parameters: FloatBuffer, into output: UnsafeMutablePointer<Float>
  ) throws {
    let layer = layers[index]
    var isAdding = false
    for distance in layer.inputs.indices {
      let source = (stripe + distance) % layer.inputs.count
      let columns = layer.inputs[source]
      guard !columns.isEmpty else { continue }
      try unsafe multiplyByTransposed(
        inputs(of: index, from: source, batch), address(of: layer.weights, in: parameters) + columns.lowerBound,
        rowCount: batch.count, columnCount: layer.outputs[stripe].count, innerCount: columns.count, bStride: layer.inputCount,
        into: output, isAdding: isAdding)
      isAdding = true
    }
  }

  /// Computes what the own units of a layer contribute to the gradient with respect to its inputs, and shares it: the columns of
  /// the other stripes first, because they have a way to go.
  private func shareInputDeltas(of index: Int, rowCount: Int, _ parameters: FloatBuffer) throws {
    let layer = layers[index]
    let own = layer.outputs[stripe].count
    guard own > 0 else { return try exchange.publish(slot(ofInputDeltas: index)) }
    let shared = unsafe exchange.values(of: slot(ofInputDeltas: index))
    func multiplyBlock(for target: Int) {
      let columns = layer.inputs[target]
      guard !columns.isEmpty else { return }
      unsafe multiply(
        deltas[index].baseAddress, address(of: layer.weights, in: parameters) + columns.lowerBound, rowCount: rowCount,
        columnCount: columns.count, innerCount: own, bStride: layer.inputCount, into: shared + columns.lowerBound * rowCount)
    }
    for target in layer.inputs.indices where target != stripe { multiplyBlock(for: target) }
    try exchange.publish(slot(ofInputDeltas: index))
    multiplyBlock(for: stripe)
  }

  /// The gradient of the own weights of a layer.
  private func computeWeightGradient(of index: Int, _ batch: Minibatch, into gradient: FloatBuffer) throws {
    let layer = layers[index]
    let own = layer.outputs[stripe].count
    guard own > 0 else { return }
    for (source, columns) in layer.inputs.enumerated() where !columns.isEmpty {
      try unsafe multiplyTransposed(
        deltas[index].baseAddress, inputs(of: index, from: source, batch), rowCount: own, columnCount: columns.count,
        innerCount: batch.count, into: address(of: layer.weights, in: gradient) + columns.lowerBound,
        resultStride: layer.inputCount)
    }
  }

  /// The delta of the own units of a hidden layer, from what the units of all stripes in the layer above contribute, and the
  /// gradient of their biases.
  private func computeDelta(of index: Int, rowCount: Int, into gradient: FloatBuffer) throws {
    let own = layers[index].outputs[stripe].count
    let above = layers[index + 1].outputs
    guard own > 0 else { return }
    var isFirst = true
    for source in above.ranges.indices where !above[source].isEmpty {
      let block = try unsafe exchange.block(slot(ofInputDeltas: index + 1), from: source)
      if isFirst {
        unsafe incoming.baseAddress.update(from: block, count: rowCount * own)
      } else {
        unsafe add(block, count: rowCount * own, to: incoming.baseAddress)
      }
      isFirst = false
    }
    // The activations themselves stay for the others to read.
    let delta = unsafe deltas[index].baseAddress
    unsafe delta.update(from: exchange.values(of: slot(ofOutputs: index)), count: rowCount * own)
    unsafe whole.activation.backward(
      delta, incoming: incoming.baseAddress, rowCount: rowCount, columnCount: own,
      biasGradient: address(of: layers[index].biases, in: gradient))
    interlude?()
  }

  /// A block of the inputs of a layer, samples × columns.
  private func inputs(of index: Int, from source: Int, _ batch: Minibatch) throws -> UnsafePointer<Float> {
    try unsafe index == 0
      ? UnsafePointer(batch.inputs.baseAddress) : exchange.block(slot(ofOutputs: index - 1), from: source)
  }

  /// Makes room for `count` samples.
  private func reserve(_ count: Int) throws {
    guard count > capacity else { return }
    try exchange.reserve(slots, sampleCount: count)
    capacity = count
    deltas = layers.map { FloatBuffer(count: count * $0.outputs[stripe].count) }
    incoming = FloatBuffer(count: count * (layers.dropLast().map { $0.outputs[stripe].count }.max() ?? 0))
    logits = FloatBuffer(count: count * classCount)
  }

  private func address(of tensor: Int, in buffer: FloatBuffer) -> UnsafeMutablePointer<Float> {
    unsafe buffer.baseAddress + layout.tensors[tensor].range.lowerBound
  }

  private func checkCount(of buffer: FloatBuffer) {
    precondition(buffer.count == layout.count, "a buffer of \(buffer.count) values for a layout of \(layout.count)")
  }
}
