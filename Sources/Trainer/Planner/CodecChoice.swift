internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Datasets
internal import Files
internal import MPI
internal import Networks
internal import Optimizers

/// The codec that a run with `--codec auto` has chosen, and why; the same on all ranks.
struct CodecChoice {
  /// The codec.
  let codec: any Codec
  /// A sentence without a full stop.
  let reason: String

  /// The codec as people write it.
  var specification: String { codec.specification }

  /// What `--codec` says to leave the choice to the ranks.
  static let word = "auto"

  private init(_ specification: String, reason: String) throws {
    codec = try codecs.make(specification)
    self.reason = reason
  }

  /// The choice of a run where there is one to make; nil where the codec was said.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - parts: The run, without its codec.
  ///   - saved: The run that is resumed, if it is.
  ///   - dataset: What it is trained on.
  ///   - optimizer: Makes an optimizer for measuring, whose state is lost.
  init?(for parts: StrategyParts, saved: SavedRun?, dataset: any Dataset, optimizer: () -> any Optimizer) throws {
    guard parts.options.codec == CodecChoice.word else { return nil }
    if let saved = saved?.counters["codec"] {
      try self.init(saved: saved)
    } else {
      var parts = parts
      parts.optimizer = optimizer()
      try self.init(measuring: parts, dataset: dataset)
    }
  }

  /// The choice of the run that is resumed, which must go on as it began.
  private init(saved specification: String) throws {
    do { try self.init(specification, reason: "the saved run had chosen it") } catch {
      throw TrainingError("the checkpoint's codec is unknown here: \(error)", exitStatus: .configuration)
    }
  }

  /// Measures for about a second what a step with each codec of the registry would take, and takes the fastest.
  ///
  /// A code is taken only if it is worth what it loses (``Recommendation/worthwhile``). Rank 0 decides. Collective.
  ///
  /// - Parameter parts: The run, without its codec; its parameters are only read.
  private init(measuring parts: StrategyParts, dataset: any Dataset) throws {
    let world = parts.grid.all.world
    guard parts.grid.shareCount > 1 else {
      try self.init("none", reason: world.count == 1 ? "one rank exchanges nothing" : "no two ranks exchange gradients")
      return
    }
    let candidates = try codecs.entries.map { try codecs.make($0.name) }
    let measured = try CostMeasurement(parts: parts, dataset: dataset, codecs: candidates).measure(.brief)
    var decision: (codec: String, reason: String)?
    if world.rank == 0 {
      let layout = parts.network.layout
      let predictor = StepPredictor(layout, minibatch: parts.plan.minibatch, costs: measured.costs)
      let plan = ScalingPlan(predictor, codecs: candidates, subject: "", costs: [], ranks: parts.grid.shareCount)
      decision = Recommendation(plan) { $0.isDone(by: parts) }.map { ($0.choice.variant.codec, $0.reason) }
    }
    let agreement = try Agreement(world: world, activity: "the choice of a codec", patience: parts.options.waiting())
    let codec = try agreement.share(decision?.codec ?? "none")
    try self.init(codec, reason: try agreement.share(decision?.reason ?? "nothing could be predicted"))
  }
}

extension StepVariant {
  /// Whether a run of these parts does its steps like this, whatever its codec.
  fileprivate func isDone(by parts: StrategyParts) -> Bool {
    let routes = parts.hosts.routes(parts.options.topology)
    let topology = routes.parties.count < routes.rankCount ? PlanTopology.hierarchical : .flat
    return isDoubleBuffered == StepVariant.isDoubleBuffered(parts.options.strategy) && self.topology == topology
  }
}

extension Recommendation {
  /// Why the choice is what it is, with the times of a step that were predicted.
  fileprivate var reason: String {
    var times: [String] = []
    if let floats { times.append("\(Quantity.text(ofSeconds: floats.seconds)) with floats") }
    if let codes { times.append("\(Quantity.text(ofSeconds: codes.seconds)) with \(codes.variant.codec)") }
    return "a step is predicted to take " + times.joined(separator: ", ")
  }
}
