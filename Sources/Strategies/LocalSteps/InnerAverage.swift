internal import Buffers
internal import Networks
internal import Optimizers
internal import PointToPoint
internal import Transport

/// The mean of what the optimizers of all ranks keep, which each goes on with: `inner=average`.
///
/// Source: algorithms §9.1.
/// - Cost: the tensors of the optimizer as floats, twice, in a round.
final class InnerAverage {
  private let mean: ModelMean
  private let result: FloatBuffer
  private let optimizer: any Optimizer
  /// The traffic counted so far, and what the format says of that after the warm start.
  private(set) var traffic = (warmStart: Traffic(), main: Traffic(), predicted: Traffic())

  init(_ parts: StrategyParts) {
    result = FloatBuffer(count: parts.network.layout.count)
    mean = ModelMean(parts.hosts, localCount: 1, count: result.count)
    optimizer = parts.optimizer
  }

  /// The tensors of the optimizer that are averaged.
  private var tensors: [SavedTensor] {
    var state = StateInventory()
    optimizer.contribute(to: &state)
    return state.tensors.filter { $0.values.count == result.count }
  }

  /// The traffic of this rank in a round, by the format alone.
  var predictedTraffic: Traffic { mean.predictedTraffic * tensors.count }

  /// Replaces the tensors of the optimizer by their means over the ranks; returns this rank's traffic.
  ///
  /// Collective.
  func take(isWarmStart: Bool) throws -> Traffic {
    let trafficBefore = mean.traffic
    for tensor in tensors {
      let own = FloatBuffer(count: result.count)
      for index in 0..<own.count { own.baseAddress[index] = tensor.values[index] }
      _ = try mean.take([own], into: result)
      for index in 0..<own.count { tensor.values[index] = result.baseAddress[index] }
    }
    let spent = mean.traffic - trafficBefore
    if isWarmStart { traffic.warmStart += spent } else { traffic.main += spent }
    if !isWarmStart { traffic.predicted += predictedTraffic }
    return spent
  }

  /// Adds what rounds have cost besides their exchanges.
  func count(in report: inout ExchangeReport) {
    report.predictedTotal = report.predictedInAll + traffic.predicted
    report.floatTotal = report.floatsInAll + traffic.predicted
    report.predictedTraffic += predictedTraffic
    report.floatTraffic += predictedTraffic
    report.traffic += traffic.main
    report.warmStartTraffic += traffic.warmStart
  }
}
