import Buffers
import Codecs
import Collectives
import Strategies
import Trainer
import Transport

/// An aggregation that delivers changes, without training around it: what it makes of gradients that are known.
final class SparseExchange {
  let aggregation: any Aggregation
  private let contribution: SharedGradient
  private var step = 0

  /// Prepares exchanges of gradients of `count` values by what `--strategy` calls `specification`; collective.
  init(
    _ specification: String, count: Int, hosts: HostMap, momentum: Double = 0.9, clip: Double? = nil, seed: UInt64 = 1
  ) throws {
    guard let recipe = try strategies.make(specification).aggregation else {
      preconditionFailure("\(specification) names none")
    }
    contribution = try SharedGradient(count: count, hosts: hosts, isShared: false)
    var parts = AggregationParts(hosts: hosts, layout: TensorLayout([("gradient", [count])]), gradients: [contribution])
    (parts.momentum, parts.clip, parts.seed) = (momentum, clip, seed)
    aggregation = try recipe(parts)
  }

  var residualSquares: Double { aggregation.residualSquares }
  var traffic: Traffic { aggregation.traffic }
  var predictedTraffic: Traffic { aggregation.predictedTraffic }

  /// Exchanges a gradient, and subtracts what comes of it from the parameters; collective.
  func run(_ gradient: FloatBuffer, rate: Float, into parameters: FloatBuffer) throws {
    contribution.values.copy(from: gradient)
    try aggregation.run(
      Contribution(step: step, rate: rate),
      into: .change { change, shard, shards in
        for (index, value) in zip(change.indices, change.values) {
          parameters[shards.place(of: Int(index), in: shard)] -= value
        }
      })
    step += 1
  }
}
