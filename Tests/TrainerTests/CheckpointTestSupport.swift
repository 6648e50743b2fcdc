import Buffers
import Foundation
import MPI
import Strategies
import Trainer

/// Bytes of a file, changed in place.
func edit(_ path: String, _ change: (inout Data) -> Void) throws {
  var data = try Data(contentsOf: URL(fileURLWithPath: path))
  change(&data)
  try data.write(to: URL(fileURLWithPath: path))
}

/// A small state with every kind of tensor and awkward values, different on every rank where it may be.
final class SampleState {
  let layout = TensorLayout([
    ("layers.2.weight", [3, 5]), ("layers.2.bias", [3]), ("layers.1.weight", [5, 7]), ("layers.1.bias", [5]),
  ])
  let parameters: FloatBuffer
  let momentum: FloatBuffer
  let residual: FloatBuffer
  let squares: FloatBuffer
  let ownerResidual: FloatBuffer
  let ownedRange: Range<Int>

  /// The state of a rank; all zeros without a `seed`.
  init(seed: UInt64?, on group: Communicator) {
    let count = layout.count
    parameters = FloatBuffer(count: count)
    momentum = FloatBuffer(count: count)
    residual = FloatBuffer(count: count)
    squares = FloatBuffer(count: count)
    // Shards of unequal length, the last ranks' empty where there are many.
    ownedRange = SampleState.shard(of: group.rank, among: group.count, count: count)
    ownerResidual = FloatBuffer(count: ownedRange.count)
    guard let seed else { return }
    let random = Philox(seed: seed, purpose: .tests)
    for i in 0..<count {
      parameters[i] = random.uniform(i) - 0.5
      momentum[i] = random.uniform(i, tensor: 1) * 1e-30
      residual[i] = random.uniform(i, tensor: 2 + group.rank) - 0.5
      squares[i] = random.uniform(i, tensor: 500 + group.rank)
    }
    parameters[0] = -0.0
    parameters[1] = .leastNonzeroMagnitude
    for i in ownedRange { ownerResidual[i - ownedRange.lowerBound] = random.uniform(i, tensor: 1000) }
  }

  static func shard(of rank: Int, among ranks: Int, count: Int) -> Range<Int> {
    let ends = (0...ranks).map { count * min($0 * $0 + $0, ranks * ranks) / (ranks * ranks) }
    return ends[rank]..<ends[rank + 1]
  }

  func inventory(counters: [String: String] = [:], ownCounters: [String: String] = [:]) -> StateInventory {
    var state = StateInventory()
    state.model = layout.tensors.map { SavedTensor($0.name, shape: $0.shape, of: parameters, range: $0.range) }
    state.tensors = [
      SavedTensor("momentum", of: momentum), SavedTensor("residual", .summed, of: residual),
      SavedTensor("ownerResidual", .owned([ownedRange]), of: ownerResidual),
      SavedTensor("partialAdaGrad", .equalShare, of: squares),
    ]
    state.counters = counters
    state.ownCounters = ownCounters
    return state
  }

  /// The bits of everything, for comparison.
  var bits: [[UInt32]] {
    [parameters, momentum, residual, ownerResidual, squares].map { buffer in buffer.values.map(\.bitPattern) }
  }
}

let sampleOptions = ["minibatch": "256", "codec": "one-bit", "epochs": "5"]
