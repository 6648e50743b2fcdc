internal import Buffers
internal import Collectives
internal import MPI
internal import Networks
internal import Transport

/// The whole model, as in files and in its hash, whether it is on one rank or in slices over several.
final class WholeModel {
  private let grid: RankGrid
  private let network: any Network
  private let parameters: FloatBuffer
  /// What its normalizations have seen; nil if it has none.
  let statistics: ModelStatistics?
  private let slices: SlicedLayout
  /// Among the ranks of the first model; nil on others, and if the model is on one rank.
  private let sliceGather: SliceGather?
  /// All parameters, on rank 0: the network's if it is whole, else memory allocated when they are first needed.
  private var whole: FloatBuffer?

  /// A view of the whole model over `grid`.
  ///
  /// Collective.
  init(_ network: any Network, parameters: FloatBuffer, on grid: RankGrid) throws {
    self.grid = grid
    self.network = network
    self.parameters = parameters
    statistics = ModelStatistics(network, on: grid)
    slices = (network as? any SlicedNetwork)?.slices ?? SlicedLayout(network.layout, into: 1)
    whole = grid.sliceCount == 1 ? parameters : nil
    sliceGather = try grid.modelGroup.flatMap {
      try grid.share == 0 ? SliceGather($0, patience: $0.patience.times(10)) : nil
    }
  }

  /// The number of parameters of the whole model.
  var parameterCount: Int { slices.whole.count }

  /// This rank's parameters as parts of the tensors in files.
  var ownTensors: [SavedTensor] {
    zip(network.layout.tensors, zip(slices.whole.tensors, slices.places(in: grid.slice))).map { own, place in
      let (tensor, range) = place
      return SavedTensor(
        own.name, shape: own.shape, of: parameters, range: own.range,
        in: (tensor.shape, range.lowerBound - tensor.range.lowerBound))
    }
  }

  /// The tensors of the whole model and its statistics, with their values on rank 0 only.
  ///
  /// Collective.
  func tensors() throws -> [SavedTensor] {
    try statistics?.combine()
    guard let whole = try gathered() else { return [] }
    return slices.whole.tensors.map { SavedTensor($0.name, shape: $0.shape, of: whole, range: $0.range) }
      + (statistics?.tensors ?? [])
  }

  /// The xxHash64 of all parameters, and of the statistics if there are some, the same on every rank.
  ///
  /// Collective.
  func hash(over records: RecordExchange) throws -> UInt64 {
    if let statistics {
      try statistics.combine()
      return statistics.hash(with: parameters)
    }
    guard grid.sliceCount > 1 else { return parameters.hash() }
    let hash = try gathered()?.hash() ?? 0
    return try records.gather([hash], activity: "the hash of the model")[0][0]
  }

  /// All parameters, on rank 0.
  ///
  /// Collective.
  private func gathered() throws -> FloatBuffer? {
    guard grid.sliceCount > 1 else { return grid.all.world.rank == 0 ? parameters : nil }
    if grid.all.world.rank == 0 && whole == nil { whole = FloatBuffer(count: slices.whole.count) }
    try sliceGather?.gather(parameters, places: (0..<grid.sliceCount).map(slices.places), into: whole)
    return whole
  }
}
