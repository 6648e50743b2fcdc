internal import Buffers
internal import Collectives
internal import Networks

/// Double buffering with half batches: while one half of a minibatch is computed, the gradient of the half before is exchanged.
///
/// Half *h* is computed with all updates up to that of half *h* − 2, so the delay is exactly half a minibatch. After it is
/// computed, the exchange of half *h* − 1 is awaited and applied, at the rate of its own step, and that of half *h* begins. Each half
/// carries 1/N of its samples' gradients, N being the whole minibatch: the rate per sample is that of `all-reduce`. The delay stays
/// with one rank, where nothing is exchanged. What is in flight is applied after the last step.
/// Source: Seide et al. 2014, section 3.3; algorithms §1.5.
final class DoubleBuffer: Strategy {
  /// The parts of a minibatch.
  private static let parts = 2

  /// An exchange under way.
  private struct Flight {
    let exchange: GradientExchange
    /// The learning rate of its step, which is that of its update.
    let rate: Float
    /// The samples whose gradient it carries.
    let samples: Int
    /// Their share of the step.
    let share: Float
    /// What was counted before it.
    let trafficBefore: Traffic
    /// What the ranks said of it, where an automatic warm start watches.
    let watched: StepAgreement?
  }

  private let parts: StrategyParts
  /// The gradient that is computed and the one that is exchanged, in turn.
  private let gradients: [SharedGradient]
  private let exchanges: RunExchanges
  private let driver: ExchangeDriver
  private let computation: GradientComputation
  private let update: ModelUpdate
  private let replicated: ReplicatedStart
  private var guardian: NonFiniteGuard
  private var start = AutomaticStart()
  private var agreementSeconds = 0.0
  private var flight: Flight?
  /// The gradient that is computed next.
  private var turn = 0
  /// An aggregated gradient that has arrived and waits for its turn to be applied, with the rate of its step; the rate is nil
  /// where none waits.
  private let arrived: FloatBuffer
  private var arrivedRate: Float?
  private var arrivedSamples = 0
  private var arrivedShare: Float = 1
  /// What an exchange cost that was settled between steps.
  private var settledTraffic = Traffic()

  init(_ parts: StrategyParts) throws {
    self.parts = parts
    let count = parts.network.layout.count
    gradients = try (0..<2).map { _ in try SharedGradient(count: count, hosts: parts.hosts) }
    driver = ExchangeDriver(parts.overlap)
    exchanges = try RunExchanges(parts, gradients: gradients, overlap: driver.overlap)
    computation = GradientComputation(parts)
    update = ModelUpdate(parts)
    replicated = ReplicatedStart(parts: parts, computation: computation, update: update)
    guardian = NonFiniteGuard(parts)
    arrived = FloatBuffer(count: count)
    computation.interlude = driver.interlude
  }

  func step(_ step: Int, from feed: SampleFeed, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    guard exchanges.exchange(of: step, in: feed.plan) != nil else {
      return try replicated.step(
        step, from: feed, rate: rate, isMeasured: isMeasured, into: gradients[turn].values, &guardian, agree: agree)
    }
    let isWatched = AutomaticStart.watches(step, of: feed.plan, parts)
    var outcome = StepOutcome()
    let samples = feed.plan.places(of: step).count
    for part in 0..<DoubleBuffer.parts {
      let count = feed.plan.places(of: step, part: part, of: DoubleBuffer.parts).count
      guard count > 0, let exchange = exchanges.exchange(of: step, in: feed.plan) else { continue }
      let batch = try parts.timeline.span(.data) { feed.batch(at: step, part: part, of: DoubleBuffer.parts) }
      var own = try computation.compute(
        step, of: batch, part: part, among: samples, into: gradients[turn].values)
      own.isStopRequested = StopSignal.isRequested
      own.rate = rate
      if isMeasured || isWatched { own.gradientSquares = gradients[turn].values.sumOfSquares }
      if isMeasured {
        // The residual is not at rest before.
        outcome.traffic += try applyOldest()
        own.residualSquares = exchange.residual.sumOfSquares
      }
      // Ranks tell one another while the exchange of the half before goes on.
      try StepAgreement.send(own, over: parts.records)
      outcome.traffic += try applyOldest()
      let agreement = try agree(on: step)
      precondition(agreement.sum(\.sampleCount) == count, "the ranks' slices are not the whole half of the minibatch")
      let verdict = guardian.judge(step, agreement, parts, "this half of the step")
      if let end = verdict.end { throw end }
      if !verdict.isSkipped { try begin(exchange, step: step, part: part, agreement, of: samples, isWatched: isWatched) }
      outcome.add(agreement, verdict)
    }
    if isWatched {
      outcome.signalShare = start.share
      outcome.warmStartEnd = start.decide(after: step, &feed.plan, parts)
    }
    return outcome
  }

  /// Hands the gradient that was just computed over, and turns to the other.
  private func begin(
    _ exchange: GradientExchange, step: Int, part: Int, _ agreement: StepAgreement, of stepSamples: Int,
    isWatched: Bool
  ) throws {
    let samples = agreement.sum(\.sampleCount)
    flight = Flight(
      exchange: exchange, rate: agreement.rate, samples: samples, share: Float(samples) / Float(stepSamples),
      trafficBefore: exchange.traffic,
      watched: isWatched ? agreement : nil)
    try exchanges.begin(exchange, step: DoubleBuffer.parts * step + part, samples: samples, of: turn)
    driver.drive(exchange)
    computation.accept()
    turn = 1 - turn
  }

  /// Waits for the exchange of the half before, if one is under way, and applies it; returns its traffic.
  private func applyOldest() throws -> Traffic {
    if let rate = arrivedRate {
      try update.apply(rate: rate, samples: arrivedSamples, share: arrivedShare) { deliverArrived(into: $0) }
      arrivedRate = nil
    }
    guard let flight else {
      defer { settledTraffic = Traffic() }
      return settledTraffic
    }
    let stopwatch = Stopwatch()
    let sumSquares = try update.apply(
      rate: flight.rate, samples: flight.samples, share: flight.share, isMeasured: flight.watched != nil
    ) { destination in
      try parts.timeline.span(.exchange) { try exchanges.deliver(flight.exchange, by: driver, into: destination) }
    }
    exchanges.note(stopwatch.seconds, of: flight.exchange)
    if let agreement = flight.watched, let sumSquares { start.note(agreement, sumSquares: sumSquares) }
    self.flight = nil
    return flight.exchange.traffic - flight.trafficBefore
  }

  private func deliverArrived(into destination: GradientExchange.Destination) {
    switch destination {
    case .buffer(let buffer): buffer.copy(from: arrived)
    case .update(let update): unsafe update(0..<arrived.count, arrived.baseAddress)
    case .inPlace: preconditionFailure("an update is not made in place")
    }
  }

  private func agree(_ own: StepAgreement.Statement, on step: Int) throws -> StepAgreement {
    try StepAgreement.send(own, over: parts.records)
    return try agree(on: step)
  }

  /// What the ranks have said of a step.
  private func agree(on step: Int) throws -> StepAgreement {
    let stopwatch = Stopwatch()
    defer { agreementSeconds += stopwatch.seconds }
    return try parts.timeline.span(.agreement) { try StepAgreement(over: parts.records, step: step, meanwhile: driver.turn) }
  }

  func settle() throws {
    guard let flight else { return }
    try parts.timeline.span(.exchange) { try exchanges.deliver(flight.exchange, by: driver, into: .buffer(arrived)) }
    (arrivedRate, arrivedSamples, arrivedShare) = (flight.rate, flight.samples, flight.share)
    settledTraffic += flight.exchange.traffic - flight.trafficBefore
    if let agreement = flight.watched { start.note(agreement, sumSquares: try update.sumOfSquares(of: arrived)) }
    self.flight = nil
  }

  func flush() throws -> Traffic { try applyOldest() }

  func abandon() {
    driver.abandon()
    parts.records.abandon()
  }
}

// MARK: - State and reports

extension DoubleBuffer {
  func contribute(to inventory: inout StateInventory) {
    precondition(flight == nil, "state is read while an exchange is under way")
    inventory.replicated += parts.optimizer.state.map { SavedTensor($0.name, of: $0.values) }
    inventory.replicated.append(SavedTensor("arrivedGradient", of: arrived))
    inventory.counters["arrivedSamples"] = String(arrivedSamples)
    inventory.counters["arrivedShare"] = String(arrivedShare.bitPattern)
    inventory.counters["arrivedRate"] = arrivedRate.map { String($0.bitPattern) } ?? "none"
    computation.contribute(to: &inventory)
    exchanges.contribute(to: &inventory)
    guardian.contribute(to: &inventory)
    start.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    guardian.restore(counters)
    start.restore(counters)
    arrivedSamples = counters["arrivedSamples"].flatMap { Int($0) } ?? 0
    arrivedShare = counters["arrivedShare"].flatMap { UInt32($0) }.map { Float(bitPattern: $0) } ?? 1
    arrivedRate = counters["arrivedRate"].flatMap { UInt32($0) }.map { Float(bitPattern: $0) }
  }

  func place() throws { try exchanges.place() }

  func forget() throws {
    let traffic = try applyOldest()
    settledTraffic += traffic
    computation.carried = nil
    exchanges.forget()
    parts.optimizer.forgetMomentum()
  }

  func carry(_ contributions: FloatBuffer, sums: FloatBuffer) {
    exchanges.merge(sums, into: contributions)
    computation.carried = contributions
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    times.compute = computation.seconds
    times.wait = agreementSeconds + computation.waitingSeconds
    times.update = update.seconds
    exchanges.add(to: &times, isFused: update.isFused)
    return times
  }

  var report: ExchangeReport {
    var report = exchanges.report
    report.exchangesInStep = DoubleBuffer.parts
    return report
  }

  func finish() throws { try exchanges.finish() }
}
