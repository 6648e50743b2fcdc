internal import Buffers
internal import Collectives
internal import Networks

/// Synchronous data-parallel descent: every rank exchanges every step's gradient and makes the same update.
///
/// The steps of the warm start exchange floats; residuals start at the switch. With one rank nothing is exchanged, and the run is
/// plain stochastic gradient descent bit for bit.
/// Source: Seide et al. 2014; algorithms A7 and A8 (T1), §1.10.
final class AllReduce: Strategy {
  private let parts: StrategyParts
  private let gradient: SharedGradient
  private let exchanges: RunExchanges
  private let computation: GradientComputation
  private let update: ModelUpdate
  private var guardian: NonFiniteGuard
  private var agreementSeconds = 0.0

  init(_ parts: StrategyParts) throws {
    self.parts = parts
    gradient = try SharedGradient(count: parts.network.layout.count, hosts: parts.hosts)
    exchanges = try RunExchanges(parts, gradient: gradient)
    computation = GradientComputation(parts)
    update = ModelUpdate(parts)
    guardian = NonFiniteGuard(parts)
  }

  func step(_ step: Int, from feed: SampleFeed, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    let exchange = exchanges.exchange(of: step, in: feed.plan)
    let sampleCount = feed.plan.places(of: step).count
    var own = try computation.compute(step, of: feed.batch(at: step), among: sampleCount, into: gradient.values)
    own.isStopRequested = StopSignal.isRequested
    own.rate = rate
    if isMeasured {
      own.gradientSquares = gradient.values.sumOfSquares
      own.residualSquares = exchange.residual.sumOfSquares
    }
    let stopwatch = Stopwatch()
    let agreement = try StepAgreement(own, over: parts.records, step: step)
    agreementSeconds += stopwatch.seconds

    var outcome = StepOutcome(agreement)
    precondition(outcome.sampleCount == sampleCount, "the ranks' slices are not the whole minibatch")
    (outcome.isSkipped, outcome.warning) = try guardian.judge(step, agreement, parts)
    if !outcome.isSkipped {
      outcome.traffic = try exchangeAndUpdate(step, over: exchange, rate: agreement.rate, samples: outcome.sampleCount)
    }
    return outcome
  }

  private func exchangeAndUpdate(_ step: Int, over exchange: GradientExchange, rate: Float, samples: Int) throws -> Traffic {
    let (stopwatch, before) = (Stopwatch(), exchange.traffic)
    try update.apply(rate: rate, samples: samples) { try exchange.run(step: step, samples: samples, into: $0) }
    exchanges.note(stopwatch.seconds, of: exchange)
    computation.carried = nil
    return exchange.traffic - before
  }
}

// MARK: - State and reports

extension AllReduce {
  func contribute(to inventory: inout StateInventory) {
    inventory.replicated += parts.optimizer.state.map { SavedTensor($0.name, of: $0.values) }
    exchanges.contribute(to: &inventory)
    guardian.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) { guardian.restore(counters) }

  func forget() throws {
    computation.carried = nil
    exchanges.forget()
    parts.optimizer.forgetMomentum()
  }

  func flush() throws -> Traffic { Traffic() }
  func settle() throws {}

  func carry(_ remainder: FloatBuffer) { computation.carried = remainder }

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
