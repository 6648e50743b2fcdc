internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Datasets
public import Files
public import MPI
internal import Networks
internal import Strategies
internal import Trainer
internal import Transport

/// Plans a run on the ranks of a job: measures what is not given, predicts, and recommends.
public struct Planner {
  /// The plan, on rank 0; nil on other ranks.
  public let plan: ScalingPlan?
  /// What was measured or given, as JSON; null on other ranks.
  public let costs: JSONValue

  /// Measures and plans.
  ///
  /// Collective; takes about ten seconds, more on slow networks and for large models, and about one if the request is brief.
  ///
  /// - Throws: The same `TrainingError` on all ranks.
  public init(_ request: PlanRequest, on world: Communicator) throws {
    var options = request.options
    options.codec = "none"
    let agreement = try Agreement(world: world, activity: "the start of the plan", patience: options.waiting())
    let recipe = try together(agreement, otherwise: .usage) {
      try request.validate()
      try options.validate(ranks: world.count)
      return try Recipe(options)
    }
    let chosen = try request.chosenAggregations()
    let aggregations = try chosen.map { try $0.settling() }
    let check = StartCheck(agreement: agreement)
    try check.program()
    try check.options(options)
    let hosts = try HostMap(world, transport: options.transport, patience: options.waiting())
    try together(agreement, otherwise: .inputOutput) { try prepareProducts(threads: options.threads) }
    let dataset = try together(agreement, otherwise: .configuration) { try recipe.dataset(options.seed) }
    let network = try together(agreement, otherwise: .configuration) {
      guard dataset.count(.train) >= world.count else {
        throw TrainingError("\(options.data) has fewer training samples than there are ranks", exitStatus: .configuration)
      }
      let network = try recipe.network(dataset.form)
      let minibatch = min(options.minibatch, dataset.count(.train))
      try checkStatistics(network.statistics, minibatch: minibatch, shares: world.count, recipe, options)
      return network
    }
    let grid = try RankGrid(hosts)
    var need = MemoryNeed(
      options, recipe, network: network, sampleCount: dataset.count(.train), on: grid)
    need.add("measuring codecs", 4 * network.layout.count)
    try need.check(over: agreement)
    var parts = StrategyParts(
      measuring: recipe, options: options, network: network, sampleCount: dataset.count(.train), on: grid,
      records: try RecordExchange(hosts))
    parts.statistics = try StatisticsGather(for: network, among: parts.hosts)
    let progress = MeasuringProgress(isQuiet: options.quiet || world.rank != 0)
    let measurement = CostMeasurement(
      parts: parts, dataset: dataset, aggregations: aggregations, measuresSpread: true, progress: progress.show)
    var measured = try measurement.measure(request.isBrief ? .brief : .thorough)
    progress.finish()
    guard world.rank == 0 else {
      (plan, costs) = (nil, .null)
      return
    }
    let assumed = request.assumptions(chosen) + request.replace(&measured.costs, layout: network.layout)
    let report = CostReport(measured, assumed: assumed, network: network, ranks: world.count, hosts: hosts.hostCount)
    let predictor = StepPredictor(
      network, minibatch: min(options.minibatch, dataset.count(.train)), costs: measured.costs)
    var plan = try ScalingPlan(
      predictor, aggregations: aggregations, subject: "\(options.model) on \(options.data), \(network.layout.count) parameters",
      costs: report.lines, ranks: request.ranks ?? (world.count > 1 ? world.count : nil),
      strategy: request.strategy)
    if let spread = measured.spread {
      plan.pace = try PaceComparison(
        PacePredictor(predictor, spread: spread), plan: plan, request: request, aggregations: aggregations)
    }
    self.plan = plan
    costs = report.json
  }
}

extension PlanRequest {
  /// Used if nothing else is known: the latency of ordinary Ethernet, and the cost of handing a message to MPI.
  private static let (assumedLatency, assumedMessage) = (50e-6, 4e-6)

  /// Replaces measured costs with given ones; returns sentences on what had to be assumed.
  func replace(_ costs: inout PlanCosts, layout: TensorLayout) -> [String] {
    var assumed: [String] = []
    if let frameSeconds { costs.compute = CostCurve(perUnit: frameSeconds) }
    if let postSeconds { costs.postSeconds = postSeconds }
    if let updateSeconds { costs.updateSeconds = updateSeconds }
    if let ranksPerHost { costs.ranksPerHost = ranksPerHost }
    guard bandwidth != nil || latency != nil || floatExchangeSeconds != nil else { return assumed }
    let bytes = Double(8 * max(layout.count, 1) * costs.ranksPerHost)
    let perByte = bandwidth.map { 8 / $0 } ?? floatExchangeSeconds.map { $0 / bytes }
    if latency == nil && costs.network == nil {
      assumed.append("a message takes \(Quantity.text(ofSeconds: PlanRequest.assumedLatency)), as --latency is not given")
    }
    var link = LinkCosts(
      latency: latency ?? costs.network?.latency ?? PlanRequest.assumedLatency,
      messageSeconds: costs.network?.messageSeconds ?? PlanRequest.assumedMessage, transfer: CostCurve(perUnit: perByte ?? 0))
    if perByte == nil, let network = costs.network {
      link.transfer = network.transfer
      link.includesFloatKernels = network.includesFloatKernels
    }
    // A latency alone does not describe a network that was not measured.
    if perByte != nil || costs.network != nil { costs.network = link }
    return assumed
  }
}
