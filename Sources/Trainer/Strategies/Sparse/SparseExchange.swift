public import Buffers
public import Collectives

/// The exchange of a strategy that changes models by few values, without training around it.
///
/// It does what the strategy does with a gradient from when it is computed to when the parameters have changed: encoding, messages,
/// recovery, and whatever is remembered. `bench all-reduce --strategy` measures it.
public final class SparseExchange {
  private let aggregation: any SparseAggregation
  private var step = 0

  /// The strategies that have such an exchange, by name.
  public static var names: [String] { sparseExchanges.entries.map(\.name) }

  /// Checks a specification before there are ranks; what depends on the number of parameters is not seen.
  public static func check(_ specification: String) throws { _ = try sparseExchanges.make(specification) }

  /// Prepares exchanges of gradients of `count` values among the ranks of `hosts`; collective.
  ///
  /// - Parameters:
  ///   - specification: The strategy with its keys, as `train --strategy` takes it.
  ///   - count: The parameters' number.
  ///   - hosts: The ranks.
  ///   - momentum: That of the strategy.
  ///   - clip: The largest norm of a gradient, as sketches estimate it; only `fetch-sgd` with `recovery=subtract` or `zero` looks at it.
  ///   - seed: Where hash functions follow from.
  /// - Throws: `SpecificationError` and `SketchError` where the specification is none for so many parameters, with one sentence.
  public init(
    _ specification: String, count: Int, hosts: HostMap, momentum: Double = 0.9, clip: Double? = nil, seed: UInt64 = 1
  ) throws {
    var options = TrainerOptions()
    (options.momentum, options.clip, options.seed) = (momentum, clip, seed)
    aggregation = try sparseExchanges.make(specification)(SparseParts(hosts: hosts, count: count, options: options))
  }

  /// With every key that was said.
  public var specification: String { aggregation.specification }
  /// How far each change, with what ranks remember, may be from the sum of the gradients: 0 where it is exact, else a share of the sum's norm.
  public var estimationError: Double { aggregation.estimationError }
  /// The squared norm of what this rank remembers, of its own gradients or as an owner; estimated where it is in sketches.
  public var residualSquares: Double { aggregation.residualSquares }
  /// What this rank sent and received so far.
  public var traffic: Traffic { aggregation.traffic }
  /// What it sends and receives in an exchange by the format alone; at most, where lists are as long as what was found.
  public var predictedTraffic: Traffic { aggregation.predictedTraffic }
  /// What this rank keeps of its gradients that later changes will bring; nil where owners keep it, or nobody.
  public var remembered: FloatBuffer? { aggregation.remembered }

  /// Exchanges a gradient, and subtracts what comes of it from the parameters.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - gradient: This rank's share of the gradient, all finite.
  ///   - rate: The learning rate.
  ///   - parameters: They change in few places, in the same way on every rank.
  public func run(_ gradient: FloatBuffer, rate: Float, into parameters: FloatBuffer) throws {
    _ = try aggregation.descend(parameters, by: gradient, step: step, rate: rate)
    step += 1
  }
}
