internal import Buffers
internal import Codecs
public import Collectives
internal import Files
internal import Strategies

/// Which strategies, in step or not, apply how many gradients a second, and whether it pays not to wait.
///
/// Gradients that are late are worth less: not to wait must give half as many again. A bound is preferred if it keeps 70 % of that.
public struct PaceComparison: Sendable {
  /// How many times more gradients a second are worth their age.
  public static let worthwhile = 1.5
  /// The share of the unbounded pace at which a bound is preferred.
  public static let kept = 0.7
  /// How many times as long as the typical rank one takes that is called slow.
  public static let slow = 1.5

  /// The number of ranks.
  public let ranks: Int
  /// The spread that it follows from.
  public let spread: StepSpread
  /// The specification of the codec of pushes and answers.
  public let codec: String
  /// The predictions, those in step first.
  public let predictions: [PacePrediction]
  /// The fastest in step.
  public let inStep: PacePrediction
  /// `asgd`, without a bound.
  public let free: PacePrediction
  /// `ssp` with a bound of 3.
  public let bounded: PacePrediction
  /// The strategy that was asked for, if it is not in step.
  public let requested: PacePrediction?

  /// Compares strategies on `ranks` ranks.
  ///
  /// In step, ranks exchange by `aggregation`; pushes have its codec, or one bit. Nil on one rank, or if the costs of the link are unknown.
  ///
  /// - Throws: As ``StepPredictor/predict(_:ranks:topology:strategy:)``.
  public init?(
    _ predictor: PacePredictor, ranks: Int, aggregation: AggregationRecipe, topology: PlanTopology = .flat,
    requested strategy: String? = nil
  ) throws {
    let codec = aggregation.carrier ?? OneBit()
    func free(_ name: String) throws -> PacePrediction? {
      let recipe = try strategies.make(name)
      guard !recipe.capabilities.isInStep else { return nil }
      guard recipe.capabilities.hasOwners else { return predictor.pairs(name, ranks: ranks) }
      return predictor.asynchronous(name, bound: recipe.bound, pattern: recipe.pushes, codec: codec, ranks: ranks)
    }
    let inStep = try PlannedStrategy.compared.compactMap {
      try predictor.inStep($0, aggregation, ranks: ranks, topology: topology)
    }
    guard ranks > 1, let fastest = inStep.max(by: { $0.gradientsPerSecond < $1.gradientsPerSecond }),
      let bounded = try free("ssp:bound=3"), let unbounded = try free("asgd")
    else { return nil }
    (self.ranks, self.codec, spread, self.inStep) = (ranks, codec.specification, predictor.spread, fastest)
    (self.free, self.bounded) = (unbounded, bounded)
    requested = try strategy.flatMap(free)
    let others = [bounded, unbounded]
    let isNew = requested.map { asked in !others.contains { $0.strategy == asked.strategy } } ?? false
    predictions = inStep + others + (isNew ? [requested].compactMap(\.self) : [])
  }

  /// Compares strategies on the ranks, and with the aggregation, that `plan` recommends to `request`.
  init?(
    _ predictor: PacePredictor, plan: ScalingPlan, request: PlanRequest, aggregations: [AggregationRecipe]
  ) throws {
    guard let recommendation = Recommendation(request.restrictingTopology(of: plan), isAllowed: request.allows),
      let aggregation = aggregations.first(where: { $0.specification == recommendation.choice.variant.codec })
    else { return nil }
    try self.init(
      predictor, ranks: recommendation.ranks, aggregation: aggregation, topology: recommendation.choice.variant.topology,
      requested: request.strategy?.specification)
  }

  /// What to use: the fastest strategy in step, unless not to wait pays.
  public var choice: PacePrediction {
    let rate = free.gradientsPerSecond
    guard rate >= PaceComparison.worthwhile * inStep.gradientsPerSecond else { return inStep }
    return bounded.gradientsPerSecond >= PaceComparison.kept * rate ? bounded : free
  }
}

// MARK: - In words

extension PaceComparison {
  /// A table of the predictions.
  var lines: [String] {
    let width = max(14, predictions.map(\.strategy.count).max() ?? 0)
    return [
      "gradients a second on \(ranks) ranks, with \(codec)",
      "  \("".padded(to: width))    a second   waiting  pushes late  limit",
    ]
      + predictions.map { prediction in
        "  \(prediction.strategy.padded(to: width))"
          + "  \(Quantity.significant(prediction.gradientsPerSecond).padded(to: 10, left: true))"
          + "  \((decimal(100 * prediction.waiting, digits: 0) + " %").padded(to: 8, left: true))"
          + "  \(decimal(prediction.staleness, digits: 0).padded(to: 11, left: true))  \(prediction.limit.rawValue)"
      }
  }

  /// What pays, and why.
  public var sentence: String {
    func times(_ prediction: PacePrediction) -> String {
      Quantity.significant(prediction.gradientsPerSecond / inStep.gradientsPerSecond)
    }
    let verdict: String
    if choice == inStep {
      let reason =
        switch free.limit {
        case .workers: ""
        case .link: "; the link sets the pace"
        case .owners: "; the work of owners sets the pace"
        }
      verdict =
        "It does not pay to train without waiting (asgd): \(times(free)) times as many gradients a second as in step, each about "
        + "\(ranks - 1) pushes late\(reason)."
    } else if choice == bounded {
      verdict =
        "It pays not to wait for every gradient: they vary by \(decimal(100 * spread.variation, digits: 0)) % on a rank, and "
        + "--strategy ssp:bound=3 would apply \(times(bounded)) times as many a second as in step; without a bound, \(times(free)) times."
    } else {
      let (rank, factor) = spread.slowest
      let reason =
        factor >= PaceComparison.slow
        ? "rank \(rank) takes \(Quantity.significant(factor)) times as long as a usual one, and a bound does not help against a rank "
          + "that is always slow" : "with a bound of 3 it would be \(times(bounded)) times"
      verdict =
        "It pays not to wait: --strategy dc-asgd would apply \(times(free)) times as many gradients a second as in step; \(reason). "
        + "Gradients are about \(ranks - 1) pushes late, so that a smaller learning rate is needed."
    }
    guard let requested else { return verdict }
    return "With --strategy \(requested.strategy) \(ranks) ranks would apply "
      + "\(Quantity.significant(requested.gradientsPerSecond)) gradients a second, \(times(requested)) times as many as in step. \(verdict)"
  }

  /// The comparison as JSON.
  var json: JSONValue {
    [
      "ranks": .integer(ranks), "codec": .string(codec), "choice": .string(choice.strategy), "text": .string(sentence),
      "predictions": .array(
        predictions.map {
          [
            "strategy": .string($0.strategy), "gradientsPerSecond": .number($0.gradientsPerSecond),
            "waiting": .number($0.waiting),
            "staleness": .number($0.staleness), "limit": .string($0.limit.rawValue),
          ]
        }),
    ]
  }
}

extension StepSpread {
  /// The spread in words.
  var text: String {
    let usual = "\(Quantity.text(ofSeconds: typicalMean)), varying by \(decimal(100 * variation, digits: 0)) %"
    guard seconds.count > 1 else { return usual }
    return "\(usual); on the slowest, rank \(slowest.rank), \(Quantity.significant(slowest.factor)) times as long"
  }
}
