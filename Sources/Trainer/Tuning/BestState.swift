internal import Buffers

/// The state that a run goes back to if its loss rises, and the minibatch that led there.
///
/// A checkpoint holds it beside the state of the run, under the same names with `.best` behind them.
final class BestState {
  private static let slot = "best"
  /// The counter of the minibatch.
  private static let minibatchName = "minibatch"

  /// The model and what the strategy keeps.
  let state: StateSnapshot
  private(set) var minibatch: Int

  /// Copies `state`, reached in steps of `minibatch` samples.
  init(_ state: StateInventory, minibatch: Int) { (self.state, self.minibatch) = (StateSnapshot(of: state), minibatch) }

  /// Copies `state` again; it must have the same tensors as at first.
  func take(_ state: StateInventory, minibatch: Int) {
    self.state.take(state)
    self.minibatch = minibatch
  }

  /// Adds it to the inventory of a checkpoint.
  func contribute(to inventory: inout StateInventory) {
    var best = state.inventory
    best.counters[Self.minibatchName] = String(minibatch)
    inventory.add(best, inSlot: Self.slot)
  }

  /// Restores the counters; tensors are read in place.
  func restore(_ counters: [String: String]) {
    var saved = StateInventory.counters(counters, inSlot: Self.slot)
    minibatch = saved.removeValue(forKey: Self.minibatchName).flatMap { Int($0) } ?? minibatch
    state.setCounters(saved)
  }
}
