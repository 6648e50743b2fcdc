internal import Buffers

/// The sizes of the layers of a perceptron, and what lies between them.
struct PerceptronShape {
  /// The values of a sample, of each hidden layer from the input on, and the classes.
  let sizes: [Int]
  let activation: Activation
  let start: Initialization
}

/// One slice of a multi-layer perceptron whose layers are split over several ranks by their output units.
///
/// The samples are the same on all slices. A slice computes its own columns of a layer's outputs from the columns of all slices
/// of the layer below. Of the gradient with respect to those, it computes what its own units contribute to each slice's
/// columns, and adds up the contributions of all slices to its own columns, in slice order. The gradient of its weights needs
/// no exchange. All slices compute the same softmax from the same logits.
///
/// - Communication: forward, a layer of n outputs sends B·n·4·(P − 1)/P bytes from each slice for B samples and P slices;
///   backward, all but the lowest layer send the same for their inputs. Input deltas are sent before the gradient of the
///   weights is computed, so that the transfer overlaps it.
///
/// Source: Seide et al. 2014, layer striping; algorithms §1.12.
final class SlicedPerceptron: SlicedNetwork {
  let slices: SlicedLayout
  let layout: TensorLayout
  let inputCount: Int
  let classCount: Int
  var betweenLayers: (() -> Void)?

  /// A linear layer: the columns of its inputs by blocks, those of its outputs by slices, and its tensors in the layout.
  struct Layer {
    let inputCount: Int
    /// The samples are one block; activations come in a block from each slice.
    let inputs: [Range<Int>]
    let outputs: Partition
    let weights: Int
    let biases: Int
  }

  /// The layers, from the input on.
  let layers: [Layer]
  let exchange: any SliceExchange
  let slice: Int
  private let whole: PerceptronShape
  /// The number of samples there is room for.
  private var capacity = 0
  /// The number of samples that went forward, and backward.
  private var sampleCounts = (forward: 0, backward: 0)
  /// For each layer, samples × this slice's outputs: the delta of its linear part.
  private var deltas: [FloatBuffer] = []
  /// The gradient with respect to this slice's outputs of a hidden layer.
  private var incoming = FloatBuffer(count: 0)
  /// The logits of all slices, samples × classes, and their delta.
  private var logits = FloatBuffer(count: 0)

  /// The slice of `whole` that `exchange` specifies.
  init(_ whole: PerceptronShape, over exchange: any SliceExchange) {
    self.whole = whole
    self.exchange = exchange
    slice = exchange.slice
    let sizes = whole.sizes
    var wholeLayout = TensorLayout()
    var layers: [Layer] = []
    for number in 1..<sizes.count {
      let weights = 2 * (sizes.count - 1 - number)
      layers.append(
        Layer(
          inputCount: sizes[number - 1], inputs: layers.last?.outputs.ranges ?? [0..<sizes[0]],
          outputs: SlicedLayout.rows(of: sizes[number], into: exchange.sliceCount), weights: weights, biases: weights + 1))
    }
    for number in (1..<sizes.count).reversed() {
      wholeLayout.append("layers.\(number).weight", shape: [sizes[number], sizes[number - 1]])
      wholeLayout.append("layers.\(number).bias", shape: [sizes[number]])
    }
    self.layers = layers
    slices = SlicedLayout(wholeLayout, into: exchange.sliceCount)
    layout = slices.layout(of: slice)
    (inputCount, classCount) = (sizes[0], sizes[sizes.count - 1])
  }

  func initialize(_ parameters: FloatBuffer, seed: UInt64) {
    checkCount(of: parameters)
    let random = Philox(seed: seed, purpose: .initialization)
    for layer in layers {
      let rows = layer.outputs[slice]
      let bounds = whole.start.bounds(inputCount: layer.inputCount, outputCount: layer.outputs.ranges.last!.upperBound)
      let tensors = [
        (layer.weights, bounds.weights, rows.lowerBound * layer.inputCount), (layer.biases, bounds.biases, rows.lowerBound),
      ]
      for (tensor, bound, first) in tensors {
        drawUniform(
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
    let (lossSum, correct) = softmaxGradient(
      logits.baseAddress, labels: batch.labels, rowCount: rowCount, classCount: classCount, scale: scale)
    let top = layers[layers.count - 1]
    let own = top.outputs[slice]
    copyColumns(
      own, of: logits.baseAddress, columnCount: classCount, rowCount: rowCount, into: deltas[layers.count - 1].baseAddress)
    columnSums(
      of: deltas[layers.count - 1].baseAddress, rowCount: rowCount, columnCount: own.count,
      into: address(of: top.biases, in: gradient))

    for index in layers.indices.reversed() {
      if index > 0 {
        try shareInputDeltas(of: index, rowCount: rowCount, parameters)
        betweenLayers?()
      }
      try computeWeightGradient(of: index, batch, into: gradient)
      ready(layers[index].weights)
      ready(layers[index].biases)
      guard index > 0 else { break }
      betweenLayers?()
      try computeDelta(of: index - 1, rowCount: rowCount, into: gradient)
    }
    try exchange.end()
    return BatchResult(lossSum: lossSum, correct: correct, count: rowCount)
  }

  func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer? = nil) throws -> BatchResult {
    guard batch.count > 0 else { return BatchResult() }
    if let logPosteriors {
      require(
        logPosteriors.count >= batch.count * classCount,
        "log posteriors of \(batch.count) samples and \(classCount) classes do not fit in \(logPosteriors.count) values")
    }
    try forward(batch, parameters)
    try exchange.end()
    let (lossSum, correct) = softmaxLoss(
      logits.baseAddress, labels: batch.labels, rowCount: batch.count, classCount: classCount,
      logPosteriors: logPosteriors?.baseAddress)
    return BatchResult(lossSum: lossSum, correct: correct, count: batch.count)
  }
}

// MARK: - Passes

extension SlicedPerceptron {
  /// Shares this slice's activations of all layers, and fills `logits` with those of all slices.
  private func forward(_ batch: Minibatch, _ parameters: FloatBuffer) throws {
    checkCount(of: parameters)
    require(
      batch.featureCount == inputCount, "samples of \(batch.featureCount) values for a network of \(inputCount) inputs")
    require(batch.count <= batch.capacity, "\(batch.count) samples in a minibatch of \(batch.capacity)")
    try reserve(batch.count)
    try exchange.begin(sampleCount: batch.count)
    sampleCounts.forward += batch.count
    for (index, layer) in layers.enumerated() {
      let own = layer.outputs[slice].count
      let output = exchange.values(of: slot(ofOutputs: index))
      if own > 0 {
        try multiplyInputs(of: index, batch, parameters, into: output)
        let biases = address(of: layer.biases, in: parameters)
        if index < layers.count - 1 {
          whole.activation.forward(output, biases: biases, rowCount: batch.count, columnCount: own)
        } else {
          addBiases(output, biases: biases, rowCount: batch.count, columnCount: own)
        }
      }
      try exchange.publish(slot(ofOutputs: index))
      betweenLayers?()
    }
    let top = layers.count - 1
    for (source, columns) in layers[top].outputs.ranges.enumerated() where !columns.isEmpty {
      try copy(
        exchange.block(slot(ofOutputs: top), from: source), rowCount: batch.count, into: columns, of: logits.baseAddress,
        columnCount: classCount)
    }
  }

  /// outputs = inputs · Wᵀ of this slice's units, by blocks: its own first, because the others may still be in transit.
  private func multiplyInputs(
    of index: Int, _ batch: Minibatch, _ parameters: FloatBuffer, into output: UnsafeMutablePointer<Float>
  ) throws {
    let layer = layers[index]
    var isAdding = false
    for distance in layer.inputs.indices {
      let source = (slice + distance) % layer.inputs.count
      let columns = layer.inputs[source]
      guard !columns.isEmpty else { continue }
      try MatrixProducts.multiply(
        inputs(of: index, from: source, batch), address(of: layer.weights, in: parameters) + columns.lowerBound,
        transposingB: true, rowCount: batch.count, columnCount: layer.outputs[slice].count, innerCount: columns.count,
        bStride: layer.inputCount,
        into: output, isAdding: isAdding)
      isAdding = true
    }
  }

  /// Computes and shares what this slice's units contribute to the gradient with respect to a layer's inputs.
  ///
  /// The columns of the other slices come first, because they have to be sent.
  private func shareInputDeltas(of index: Int, rowCount: Int, _ parameters: FloatBuffer) throws {
    let layer = layers[index]
    let own = layer.outputs[slice].count
    guard own > 0 else { return try exchange.publish(slot(ofInputDeltas: index)) }
    let shared = exchange.values(of: slot(ofInputDeltas: index))
    func multiplyBlock(for target: Int) {
      let columns = layer.inputs[target]
      guard !columns.isEmpty else { return }
      MatrixProducts.multiply(
        deltas[index].baseAddress, address(of: layer.weights, in: parameters) + columns.lowerBound, rowCount: rowCount,
        columnCount: columns.count, innerCount: own, bStride: layer.inputCount, into: shared + columns.lowerBound * rowCount)
    }
    for target in layer.inputs.indices where target != slice { multiplyBlock(for: target) }
    try exchange.publish(slot(ofInputDeltas: index))
    multiplyBlock(for: slice)
  }

  /// The gradient of this slice's weights of a layer.
  private func computeWeightGradient(of index: Int, _ batch: Minibatch, into gradient: FloatBuffer) throws {
    let layer = layers[index]
    let own = layer.outputs[slice].count
    guard own > 0 else { return }
    for (source, columns) in layer.inputs.enumerated() where !columns.isEmpty {
      try MatrixProducts.multiply(
        deltas[index].baseAddress, inputs(of: index, from: source, batch), transposingA: true, rowCount: own,
        columnCount: columns.count,
        innerCount: batch.count, into: address(of: layer.weights, in: gradient) + columns.lowerBound,
        resultStride: layer.inputCount)
    }
  }

  /// The delta of this slice's units of a hidden layer and the gradient of their biases, from the contributions of all slices'
  /// units in the layer above.
  private func computeDelta(of index: Int, rowCount: Int, into gradient: FloatBuffer) throws {
    let own = layers[index].outputs[slice].count
    let above = layers[index + 1].outputs
    guard own > 0 else { return }
    var isFirst = true
    for source in above.ranges.indices where !above[source].isEmpty {
      let block = try exchange.block(slot(ofInputDeltas: index + 1), from: source)
      if isFirst {
        incoming.baseAddress.update(from: block, count: rowCount * own)
      } else {
        add(block, count: rowCount * own, to: incoming.baseAddress)
      }
      isFirst = false
    }
    // The activations themselves stay, for the other slices to read.
    let delta = deltas[index].baseAddress
    delta.update(from: exchange.values(of: slot(ofOutputs: index)), count: rowCount * own)
    whole.activation.backward(
      delta, incoming: incoming.baseAddress, rowCount: rowCount, columnCount: own,
      biasGradient: address(of: layers[index].biases, in: gradient))
    betweenLayers?()
  }

  /// A block of the inputs of a layer, samples × columns.
  private func inputs(of index: Int, from source: Int, _ batch: Minibatch) throws -> UnsafePointer<Float> {
    try index == 0
      ? UnsafePointer(batch.inputs.baseAddress) : exchange.block(slot(ofOutputs: index - 1), from: source)
  }

  /// Makes room for `count` samples.
  private func reserve(_ count: Int) throws {
    guard count > capacity else { return }
    try exchange.reserve(slots, sampleCount: count)
    capacity = count
    deltas = layers.map { FloatBuffer(count: count * $0.outputs[slice].count) }
    incoming = FloatBuffer(count: count * (layers.dropLast().map { $0.outputs[slice].count }.max() ?? 0))
    logits = FloatBuffer(count: count * classCount)
  }

  private func address(of tensor: Int, in buffer: FloatBuffer) -> UnsafeMutablePointer<Float> {
    buffer.baseAddress + layout.tensors[tensor].range.lowerBound
  }

  private func checkCount(of buffer: FloatBuffer) {
    require(buffer.count == layout.count, "a buffer of \(buffer.count) values for a layout of \(layout.count)")
  }
}
