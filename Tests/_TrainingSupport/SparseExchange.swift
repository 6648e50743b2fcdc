import Buffers
import Codecs
import Collectives
import MPI
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

  /// The changes of parameters by the ranks of `group`, each of which has some of the terms of `gradients[step]`.
  static func changes(
    _ strategy: String, _ gradients: [[Float]], momentum: Double = 0, clip: Double? = nil, rate: Float = 1,
    on group: Communicator? = nil,
    transport: Transport = .auto
  ) throws -> (parameters: [Float], exchange: SparseExchange) {
    let group = group ?? world
    let count = gradients[0].count
    let exchange = try SparseExchange(
      strategy, count: count, hosts: HostMap(group, transport: transport), momentum: momentum, clip: clip,
      seed: 5)
    let (gradient, parameters) = (FloatBuffer(count: count), FloatBuffer(count: count))
    for values in gradients {
      for i in 0..<count { gradient[i] = share(of: values[i], at: i, rank: group.rank, of: group.count) }
      try exchange.run(gradient, rate: rate, into: parameters)
    }
    return (Array(parameters.values), exchange)
  }

  /// A rank's share of an integer: the ranks' shares add up to it, in floats too, in whichever order.
  private static func share(of value: Float, at index: Int, rank: Int, of count: Int) -> Float {
    func part(_ r: Int) -> Float { Float((index * 7 + r * 13) % 41 - 20) }
    return rank < count - 1 ? part(rank) : value - (0..<count - 1).reduce(0) { $0 + part($1) }
  }
}
