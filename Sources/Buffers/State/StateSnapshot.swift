/// A copy in memory of what an inventory lists: taken once, it can be restored any number of times.
package final class StateSnapshot {
  /// The tensors of the inventory under their own names, in memory of the snapshot.
  package private(set) var inventory = StateInventory()

  /// Copies what `source` lists.
  package init(of source: StateInventory) {
    inventory = source
    inventory.model = source.model.map { $0.emptyCopy() }
    inventory.tensors = source.tensors.map { $0.emptyCopy() }
    take(source)
  }

  /// Copies what `source` lists again; it must have the same tensors as at first.
  package func take(_ source: StateInventory) {
    inventory.copyTensors(from: source)
    setCounters(source.counters)
  }

  /// Replaces the counters, when a snapshot is read from a file.
  package func setCounters(_ counters: [String: String]) { inventory.counters = counters }
}

extension StateInventory {
  /// Copies the values of `source` into the tensors of the same names here; tensors that `source` lacks become zero.
  ///
  /// Counters are not changed: the components that keep them restore them.
  package func copyTensors(from source: StateInventory) {
    let values = Dictionary(uniqueKeysWithValues: (source.model + source.tensors).map { ($0.name, $0.values) })
    for tensor in model + tensors {
      guard let value = values[tensor.name] else {
        tensor.values.update(repeating: 0)
        continue
      }
      require(value.count == tensor.values.count, "\(tensor.name) has \(value.count) values, not \(tensor.values.count)")
      if value.count > 0 { tensor.values.baseAddress!.update(from: value.baseAddress!, count: value.count) }
    }
  }

  /// Rescales residuals of steps of `minibatch` samples to the units of steps of `newMinibatch` samples.
  ///
  /// A gradient is a mean over its minibatch, applied with a learning rate that grows with the minibatch: a residual keeps its
  /// effect if it shrinks as the minibatch grows.
  /// Source: algorithms A7, "feedback space".
  package func rescaleResiduals(from minibatch: Int, to newMinibatch: Int) {
    guard minibatch != newMinibatch else { return }
    let factor = Float(Double(minibatch) / Double(newMinibatch))
    for tensor in tensors where tensor.isShareOfMean {
      for index in tensor.values.indices { tensor.values[index] *= factor }
    }
  }
}
