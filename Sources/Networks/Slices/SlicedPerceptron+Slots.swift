internal import Buffers

/// What the slices of a perceptron exchange: a slot for the outputs of each layer, and one for the deltas of the inputs of each
/// layer but the lowest.
extension SlicedPerceptron {
  /// All slots, in the order of their numbers.
  var slots: [BlockSlot] {
    layers.indices.map(outputSlot) + layers.indices.dropFirst().map(inputDeltaSlot)
  }

  /// The number of the slot that holds the outputs of a layer.
  func slot(ofOutputs index: Int) -> Int { index }

  /// The number of the slot that holds the deltas of a layer's inputs; the lowest layer has none.
  func slot(ofInputDeltas index: Int) -> Int { layers.count + index - 1 }

  var bytesPerSample: (forward: Int, backward: Int) {
    func bytes(_ slot: BlockSlot) -> Int {
      4 * slot.outgoing.enumerated().reduce(0) { $1.offset == slice ? $0 : $0 + $1.element.count }
    }
    return (
      layers.indices.reduce(0) { $0 + bytes(outputSlot(of: $1)) },
      layers.indices.dropFirst().reduce(0) { $0 + bytes(inputDeltaSlot(of: $1)) }
    )
  }

  /// Every slice sends all its outputs to all slices.
  private func outputSlot(of index: Int) -> BlockSlot {
    let counts = layers[index].outputs.ranges.map(\.count)
    return BlockSlot(
      index < layers.count - 1 ? "the activations of layer \(index + 1)" : "the logits", columnCounts: counts,
      outgoing: counts.map { _ in 0..<counts[slice] }, incoming: counts.map { 0..<$0 })
  }

  /// Every slice that has units in the layer sends each slice their contribution to the deltas of that slice's columns.
  private func inputDeltaSlot(of index: Int) -> BlockSlot {
    let layer = layers[index]
    let hasUnits = layer.outputs.ranges.map { !$0.isEmpty }
    return BlockSlot(
      "the deltas of layer \(index)", columnCounts: hasUnits.map { $0 ? layer.inputCount : 0 },
      outgoing: layer.inputs.map { hasUnits[slice] ? $0 : 0..<0 },
      incoming: hasUnits.map { $0 ? layer.inputs[slice] : 0..<0 })
  }
}
