internal import Buffers
internal import Collectives
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Synchronous data-parallel training: every rank exchanges every step's gradient and makes the same change.
///
/// Between hosts the exchange is under way while the backward pass computes: tensors cross as they become final, and only the
/// change waits until all ranks have said that their gradients are finite (``Overlap``). Aggregations that cannot be discarded begin
/// after that. The steps of the warm start take their own ways (``WarmStartPhase``). With one rank nothing is exchanged, and the run is plain
/// stochastic gradient descent bit for bit.
/// Source: Seide et al. 2014; algorithms A7 and A8 (T1), §1.10.
final class Synchronous: Strategy {
  private let parts: StrategyParts
  private let gradient: SharedGradient
  private let aggregations: RunAggregations
  private let driver: ExchangeDriver
  private let frame: StepFrame
  private let update: ModelUpdate
  private let replicated: ReplicatedStart
  private var start = AutomaticStart()
  /// Whether exchanges begin before gradients are final.
  private var beginsEarly: Bool { driver.overlap != .off }

  init(_ parts: StrategyParts) throws {
    self.parts = parts
    let capabilities = parts.aggregation.capabilities
    driver = ExchangeDriver(capabilities.discards ? parts.overlap : .off)
    gradient = try SharedGradient(
      count: parts.network.layout.count, hosts: parts.hosts, isShared: capabilities.sharesContributions)
    aggregations = try RunAggregations(
      parts, gradients: [gradient], overlap: driver.overlap, isRestorable: driver.overlap != .off)
    frame = StepFrame(parts, driver: driver)
    update = ModelUpdate(parts)
    replicated = ReplicatedStart(parts: parts, frame: frame, update: update)
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    guard let exchange = aggregations.aggregation(of: step, in: course.loader.plan) else {
      return try replicated.step(step, on: course, into: gradient.values)
    }
    let (isMeasured, isWatched) = (course.isMeasured(step), AutomaticStart.watches(step, of: course.loader.plan, parts))
    let (samples, trafficBefore) = (course.loader.plan.places(of: step).count, exchange.traffic)
    let residualSquares = isMeasured ? exchange.residualSquares : 0
    var contribution = Contribution(step: step, samples: samples, isReady: false)
    if beginsEarly { try begin(exchange, contribution) }
    let judgement = try frame.run(
      step, on: course, into: gradient.values, needsNorm: isMeasured || isWatched, ready: exchange.markReady,
      computed: { $0.residualSquares = residualSquares },
      ending: { if beginsEarly { try discard(exchange) } })
    let agreement = judgement.agreement
    if judgement.verdict.isSkipped {
      if beginsEarly { try discard(exchange) }
    } else {
      (contribution.isReady, contribution.rate) = (true, agreement.rate)
      if !beginsEarly { try begin(exchange, contribution) }
      let stopwatch = Stopwatch()
      let sumSquares = try update.apply(rate: agreement.rate, samples: samples, isMeasured: isWatched) { sink in
        try parts.timeline.span(.exchange) { try aggregations.deliver(exchange, by: driver, into: sink) }
      }
      aggregations.note(stopwatch.seconds, of: exchange)
      frame.computation.accept()
      if isWatched, let sumSquares { start.note(agreement, sumSquares: sumSquares) }
    }
    var outcome = StepOutcome()
    outcome.add(judgement)
    if isWatched {
      outcome.signalShare = start.share
      outcome.warmStartEnd = start.decide(after: step, &course.loader.plan, parts)
    }
    outcome.traffic = exchange.traffic - trafficBefore
    return outcome
  }

  private func begin(_ exchange: any Aggregation, _ contribution: Contribution) throws {
    try aggregations.begin(exchange, contribution)
    driver.drive(exchange)
  }

  private func discard(_ exchange: any Aggregation) throws {
    try parts.timeline.span(.exchange) { try driver.discard(exchange) }
  }

  func drain() -> Traffic { Traffic() }

  func settle() {}

  func abandon() { driver.abandon() }
}

// MARK: - State and reports

extension Synchronous {
  func contribute(to inventory: inout StateInventory) {
    update.contribute(to: &inventory)
    frame.contribute(to: &inventory)
    aggregations.contribute(to: &inventory)
    start.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    frame.restore(counters: counters)
    aggregations.restore(counters: counters)
    start.restore(counters)
  }

  func place() throws { try aggregations.place() }

  func forget() throws {
    frame.computation.inherited = nil
    aggregations.forget()
    parts.optimizer.forgetMomentum()
  }

  func inherit(_ contributions: FloatBuffer, sums: FloatBuffer) {
    aggregations.merge(sums, into: contributions)
    frame.computation.inherited = contributions
  }

  var times: PhaseTimes { aggregations.times(frame, update) }

  var report: ExchangeReport { aggregations.report }

  func finish() throws { try aggregations.finish() }
}
