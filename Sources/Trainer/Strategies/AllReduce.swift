internal import Buffers
internal import Collectives
internal import Networks

/// Synchronous data-parallel descent: every rank exchanges every step's gradient and makes the same update.
///
/// Between hosts the exchange is under way while the backward pass computes: tensors cross as they become final, and only the
/// update waits until all ranks have said that their gradients are finite (``Overlap``). The steps of the warm start take their
/// own ways (``Passage``). With one rank nothing is exchanged, and the run is plain stochastic gradient descent bit for bit.
/// Source: Seide et al. 2014; algorithms A7 and A8 (T1), §1.10.
final class AllReduce: Strategy {
  private let parts: StrategyParts
  private let gradient: SharedGradient
  private let exchanges: RunExchanges
  private let driver: ExchangeDriver
  private let computation: GradientComputation
  private let update: ModelUpdate
  private let replicated: ReplicatedStart
  private var guardian: NonFiniteGuard
  private var start = AutomaticStart()
  private var agreementSeconds = 0.0

  init(_ parts: StrategyParts) throws {
    self.parts = parts
    driver = ExchangeDriver(parts.overlap)
    gradient = try SharedGradient(count: parts.network.layout.count, hosts: parts.hosts)
    exchanges = try RunExchanges(parts, gradients: [gradient], overlap: driver.overlap, isRestorable: driver.overlap != .off)
    computation = GradientComputation(parts)
    update = ModelUpdate(parts)
    replicated = ReplicatedStart(parts: parts, computation: computation, update: update)
    guardian = NonFiniteGuard(parts)
    computation.interlude = driver.interlude
  }

  func step(_ step: Int, from feed: SampleFeed, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    guard let exchange = exchanges.exchange(of: step, in: feed.plan) else {
      return try replicated.step(
        step, from: feed, rate: rate, isMeasured: isMeasured, into: gradient.values, &guardian, agree: agree)
    }
    let isWatched = AutomaticStart.watches(step, of: feed.plan, parts)
    let samples = feed.plan.places(of: step).count
    let (isOverlapped, trafficBefore) = (driver.overlap != .off, exchange.traffic)
    let batch = try parts.timeline.span(.data) { feed.batch(at: step) }
    let residualSquares = isMeasured ? exchange.residual.sumOfSquares : 0
    if isOverlapped { try begin(exchange, step: step, samples: samples, isReady: false) }
    var own = try computation.compute(step, of: batch, among: samples, into: gradient.values) { exchange.markReady(upTo: $0) }
    own.isStopRequested = StopSignal.isRequested
    own.rate = rate
    own.residualSquares = residualSquares
    if isMeasured || isWatched { own.gradientSquares = gradient.values.sumOfSquares }
    let agreement = try agree(own, on: step)
    precondition(agreement.sum(\.sampleCount) == samples, "the ranks' slices are not the whole minibatch")

    let verdict = guardian.judge(step, agreement, parts)
    if verdict.isSkipped {
      if isOverlapped { try parts.timeline.span(.exchange) { try driver.discard(exchange) } }
      if let end = verdict.end { throw end }
    } else {
      if !isOverlapped { try begin(exchange, step: step, samples: samples, isReady: true) }
      let stopwatch = Stopwatch()
      let sumSquares = try update.apply(rate: agreement.rate, samples: samples, isMeasured: isWatched) { destination in
        try parts.timeline.span(.exchange) { try exchanges.deliver(exchange, by: driver, into: destination) }
      }
      exchanges.note(stopwatch.seconds, of: exchange)
      computation.accept()
      if isWatched, let sumSquares { start.note(agreement, sumSquares: sumSquares) }
    }
    var outcome = StepOutcome()
    outcome.add(agreement, verdict)
    if isWatched {
      outcome.signalShare = start.share
      outcome.warmStartEnd = start.decide(after: step, &feed.plan, parts)
    }
    outcome.traffic = exchange.traffic - trafficBefore
    return outcome
  }

  private func begin(_ exchange: GradientExchange, step: Int, samples: Int, isReady: Bool) throws {
    try exchanges.begin(exchange, step: step, samples: samples, isReady: isReady)
    driver.drive(exchange)
  }

  private func agree(_ own: StepAgreement.Statement, on step: Int) throws -> StepAgreement {
    let stopwatch = Stopwatch()
    defer { agreementSeconds += stopwatch.seconds }
    return try parts.timeline.span(.agreement) {
      try StepAgreement(own, over: parts.records, step: step, meanwhile: driver.turn)
    }
  }

  func flush() -> Traffic { Traffic() }

  func settle() {}

  func abandon() { driver.abandon() }
}

// MARK: - State and reports

extension AllReduce {
  func contribute(to inventory: inout StateInventory) {
    inventory.replicated += parts.optimizer.state.map { SavedTensor($0.name, of: $0.values) }
    computation.contribute(to: &inventory)
    exchanges.contribute(to: &inventory)
    guardian.contribute(to: &inventory)
    start.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    guardian.restore(counters)
    start.restore(counters)
  }

  func place() throws { try exchanges.place() }

  func forget() throws {
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

  var report: ExchangeReport { exchanges.report }

  func finish() throws { try exchanges.finish() }
}
