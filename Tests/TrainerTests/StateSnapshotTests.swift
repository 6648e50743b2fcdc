import Buffers
import Strategies
import Testing
import Trainer
import _TestSupport

/// Copies of state in memory.
@Suite(.oneProcess) struct StateSnapshotTests {
  private func inventory(_ values: [(name: String, first: Float)]) -> StateInventory {
    var inventory = StateInventory()
    for (name, first) in values {
      let buffer = FloatBuffer(count: 5)
      for index in 0..<5 { buffer[index] = first + Float(index) }
      switch name {
      case "weights": inventory.model.append(SavedTensor(name, of: buffer))
      case "momentum": inventory.tensors.append(SavedTensor(name, of: buffer))
      default: inventory.tensors.append(SavedTensor(name, .summed, isShareOfMean: name != "other", of: buffer))
      }
    }
    inventory.counters = ["skipped": "3"]
    return inventory
  }

  private func values(_ inventory: StateInventory) -> [[Float]] {
    (inventory.model + inventory.tensors).map { Array($0.values) }
  }

  @Test func whatChangesAfterACopyIsPutBackAnyNumberOfTimes() {
    let state = inventory([("weights", 1), ("momentum", 10), ("residual", 20), ("ownerResidual", 30)])
    let before = values(state)
    let snapshot = StateSnapshot(of: state)
    for _ in 0..<2 {
      for tensor in state.model + state.tensors { tensor.values[3] = -1 }
      #expect(values(state) != before && values(snapshot.inventory) == before)
      state.copyTensors(from: snapshot.inventory)
      #expect(values(state) == before && snapshot.inventory.counters == ["skipped": "3"])
    }
    state.model[0].values[0] = 7
    snapshot.take(state)
    #expect(snapshot.inventory.model[0].values[0] == 7)
  }

  @Test func whatTheSourceLacksBecomesZero() {
    let state = inventory([("weights", 1), ("residual", 20)])
    let other = inventory([("residual", 5), ("momentum", 10), ("weights", 2)])
    other.copyTensors(from: state)
    #expect(values(other) == [[1, 2, 3, 4, 5], [20, 21, 22, 23, 24], [0, 0, 0, 0, 0]])
  }

  @Test func residualsKeepTheirEffectWhereTheMinibatchChanges() {
    let state = inventory([("weights", 1), ("momentum", 10), ("residual", 20), ("ownerResidual", 30), ("other", 40)])
    state.rescaleResiduals(from: 64, to: 64)
    #expect(values(state)[2] == [20, 21, 22, 23, 24])
    // The rate is to be three times as high.
    state.rescaleResiduals(from: 64, to: 192)
    let third = Float(1.0 / 3)
    #expect(values(state)[2] == [20, 21, 22, 23, 24].map { $0 * third })
    #expect(values(state)[3] == [30, 31, 32, 33, 34].map { $0 * third })
    #expect(values(state)[0][0] == 1 && values(state)[1][0] == 10 && values(state)[4][0] == 40)
  }
}
