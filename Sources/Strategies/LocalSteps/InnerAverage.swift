internal import Buffers
internal import Collectives
internal import Networks
internal import Optimizers

/// The mean of what the optimizers of all ranks keep, which each goes on with: `inner=average`.
///
/// Source: algorithms §9.1.
/// - Cost: the tensors of the optimizer as floats, twice, in a round.
final class InnerAverage {
  private let mean: ModelMean
  private let result: FloatBuffer

  init(_ parts: StrategyParts) {
    result = FloatBuffer(count: parts.network.layout.count)
    mean = ModelMean(parts.hosts, localCount: 1, count: result.count)
  }

  /// Replaces the tensors of `optimizer` by their means over the ranks.
  ///
  /// Collective.
  func take(of optimizer: any Optimizer) throws {
    var state = StateInventory()
    optimizer.contribute(to: &state)
    for tensor in state.tensors where tensor.values.count == result.count {
      let own = FloatBuffer(count: result.count)
      for index in 0..<own.count { own.baseAddress[index] = tensor.values[index] }
      _ = try mean.take([own], into: result)
      for index in 0..<own.count { tensor.values[index] = result.baseAddress[index] }
    }
  }
}
