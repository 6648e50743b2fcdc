internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
public import Datasets
internal import Files
internal import MPI
internal import Networks
public import Strategies
internal import Trainer
internal import Transport

/// Measures for about a second the time T of a step with each of `comparedCodecs`, and the share λ of the signal that its codes do not
/// carry at a time; returns the one with the smallest T/(1 − λ), for `--codec auto`.
///
/// λ is that of the run's own gradients, with the residual in them; floats have 0. A code is chosen only if it is worth its loss, which
/// counts as at least that of ``Recommendation/worthwhile``. Rank 0 decides. Collective.
///
/// - Parameters:
///   - parts: The run, without its codec; its parameters are only read.
///   - dataset: The data it is trained on.
/// - Returns: The codec's specification, and the reason, a sentence without a full stop; the same on all ranks.
public func measuredCodec(for parts: StrategyParts, on dataset: any Dataset) throws -> (codec: String, reason: String) {
  let world = parts.grid.all.world
  let candidates = try comparedCodecs.map { AggregationRecipe(try codecs.make($0)) }
  let measured = try CostMeasurement(parts: parts, dataset: dataset, aggregations: candidates).measure(.brief)
  var decision: (codec: String, reason: String)?
  if world.rank == 0 {
    let predictor = StepPredictor(parts.network, minibatch: parts.plan.minibatch, costs: measured.costs)
    let plan = try ScalingPlan(predictor, aggregations: candidates, subject: "", costs: [], ranks: parts.grid.shareCount)
    let strategy = try PlannedStrategy(parts.options.strategy)
    decision = Recommendation(plan) { $0.isDone(by: parts, strategy) }.map { ($0.choice.variant.codec, $0.reason) }
  }
  let agreement = try Agreement(world: world, activity: "the choice of a codec", patience: parts.options.waiting())
  let codec = try agreement.share(decision?.codec ?? "none")
  return (codec, try agreement.share(decision?.reason ?? "nothing could be predicted"))
}

extension StepVariant {
  /// Whether a run with these parts and this strategy does its steps like this, for any codec.
  fileprivate func isDone(by parts: StrategyParts, _ strategy: PlannedStrategy) -> Bool {
    let routes = parts.hosts.routes(parts.options.topology)
    let topology = routes.parties.count < routes.rankCount ? PlanTopology.hierarchical : .flat
    return isDoubleBuffered == strategy.isDoubleBuffered && self.topology == topology
  }
}

extension Recommendation {
  /// The reason for the choice, with the predicted step times.
  fileprivate var reason: String {
    var times: [String] = []
    if let floats { times.append("\(Quantity.text(ofSeconds: floats.seconds)) with floats") }
    if let codes {
      times.append("\(Quantity.text(ofSeconds: codes.seconds)) with \(codes.variant.codec)\(codes.signalClause)")
    }
    return "a step is predicted to take " + times.joined(separator: ", ")
  }
}
