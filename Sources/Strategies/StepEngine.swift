internal import Buffers
internal import Collectives
internal import Files
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// The common part of strategies that exchange gradients: the frame of a step, the aggregations of the run, their driver, and
/// the update of the model.
final class StepEngine {
  let parts: StrategyParts
  /// The buffers of contributions; several are used in turn.
  let gradients: [SharedGradient]
  let driver: ExchangeDriver
  let aggregations: RunAggregations
  let frame: StepFrame
  let update: ModelUpdate
  let replicated: ReplicatedStart
  var start = AutomaticStart()

  /// Prepares exchanges that follow `schedule`.
  ///
  /// Collective.
  init(_ parts: StrategyParts, _ schedule: ExchangeSchedule) throws {
    self.parts = parts
    let overlap = schedule.overlap(for: parts)
    // What begins before all ranks have agreed on the step may have to be undone.
    let isRestorable = schedule.hiddenPart == .duringBackward && overlap != .off
    gradients = try (0..<schedule.gradientCount).map { _ in
      try SharedGradient(
        count: parts.network.layout.count, hosts: parts.hosts, isShared: parts.aggregation.capabilities.sharesContributions)
    }
    driver = ExchangeDriver(overlap)
    aggregations = try RunAggregations(parts, gradients: gradients, overlap: overlap, isRestorable: isRestorable)
    frame = StepFrame(parts, driver: driver)
    update = ModelUpdate(parts)
    replicated = ReplicatedStart(parts: parts, frame: frame, update: update)
  }

  /// Whether the gradient of a step is measured, for an automatic warm start.
  func watches(_ step: Int, on course: Course) -> Bool { AutomaticStart.watches(step, of: course.loader.plan, parts) }

  /// Ends an automatic warm start after `step` if it is time to, and records it in `outcome`.
  func decideStart(after step: Int, on course: Course, noting outcome: inout StepOutcome) {
    outcome.signalShare = start.share
    outcome.warmStartEnd = start.decide(after: step, &course.loader.plan, parts)
  }
}

// MARK: - State

extension StepEngine {
  func contribute(to inventory: inout StateInventory) {
    update.contribute(to: &inventory)
    frame.contribute(to: &inventory)
    aggregations.contribute(to: &inventory)
    start.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    update.restore(counters: counters)
    frame.restore(counters: counters)
    aggregations.restore(counters: counters)
    start.restore(counters)
  }

  /// Discards what past gradients left behind; no exchange may be in flight.
  func forget() {
    frame.computation.inherited = nil
    aggregations.forget()
    parts.optimizer.forgetMomentum()
  }
}

/// A strategy over a ``StepEngine``, which keeps its state and counts its costs.
protocol EngineStrategy: Strategy {
  var engine: StepEngine { get }
}

extension EngineStrategy {
  func contribute(to inventory: inout StateInventory) { engine.contribute(to: &inventory) }

  func restore(counters: [String: String]) { engine.restore(counters: counters) }

  func forget() throws { engine.forget() }

  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    engine.aggregations.prepareToLoad(&inventory, savedBy: shareCount)
  }

  func place() throws {
    try engine.aggregations.place()
    engine.frame.computation.inherited = engine.aggregations.takeInheritance()
  }

  func abandon() {
    engine.driver.abandon()
    engine.parts.records.abandon()
    engine.parts.statistics?.abandon()
  }

  var times: PhaseTimes { engine.aggregations.times(engine.frame, engine.update) }

  var report: ExchangeReport { engine.aggregations.report }

  /// Who has uploaded how often, if not always.
  var conclusion: StrategyConclusion {
    let main = engine.aggregations.main
    var conclusion = StrategyConclusion()
    guard let uploads = main.uploads, uploads.byRank.count > 1 else { return conclusion }
    let (total, all) = (uploads.byRank.reduce(0, +), uploads.byRank.count * uploads.exchangeCount)
    conclusion.lines.append(
      "\(counted(total, "upload")) of \(all) by \(main.specification.prefix { $0 != ":" }), by rank: "
        + uploads.byRank.map(String.init).joined(separator: ", "))
    conclusion.members = [
      .init("uploads", .integers(uploads.byRank)), .init("uploadsAtMost", .integer(all)),
    ]
    return conclusion
  }

  func finish() throws { try engine.aggregations.finish() }
}
