/// A copy in memory of what a list of state names: taken once, it can be put back any number of times.
package final class StateSnapshot {
  /// The tensors of the list under their own names, in memory of the snapshot.
  package private(set) var inventory = StateInventory()

  /// Copies what `source` names.
  package init(of source: StateInventory) {
    inventory = source
    inventory.model = source.model.map { $0.emptyCopy() }
    inventory.tensors = source.tensors.map { $0.emptyCopy() }
    take(source)
  }

  /// Copies what `source` names anew; it has the same tensors as at first.
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
  /// Counters stay: who keeps them takes them back.
  package func copyTensors(from source: StateInventory) {
    let values = Dictionary(uniqueKeysWithValues: (source.model + source.tensors).map { ($0.name, $0.values) })
    for tensor in model + tensors {
      guard let value = unsafe values[tensor.name] else {
        unsafe tensor.values.update(repeating: 0)
        continue
      }
      precondition(value.count == tensor.values.count, "\(tensor.name) has \(value.count) values, not \(tensor.values.count)")
      if value.count > 0 { unsafe tensor.values.baseAddress!.update(from: value.baseAddress!, count: value.count) }
    }
  }

  /// What was not sent yet of the gradients of steps of `minibatch` samples, in the units of steps of `newMinibatch`.
  ///
  /// A gradient is a mean over its minibatch, to be applied at a rate that grows with it: what is left keeps its effect if it
  /// shrinks as the minibatch grows.
  /// Source: algorithms A7, "feedback space".
  package func rescaleResiduals(from minibatch: Int, to newMinibatch: Int) {
    guard minibatch != newMinibatch else { return }
    let factor = Float(Double(minibatch) / Double(newMinibatch))
    for tensor in tensors where tensor.isShareOfMean {
      for index in tensor.values.indices { unsafe tensor.values[index] *= factor }
    }
  }
}
