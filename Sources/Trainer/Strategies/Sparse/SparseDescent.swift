internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Networks

/// Synchronous descent by sparse updates: from the gradients of all ranks come a few values, by which every rank changes its model.
///
/// What those few do not carry is remembered, by the ranks or by the owners of shards, and comes later. Momentum is part of what is
/// remembered, so that the optimizer has none of its own. The learning rate enters before the error memory: what is remembered are
/// changes of parameters, and keep the rate at which they came.
///
/// Source: Rothchild et al. 2020, "FetchSGD"; algorithms §2.3 and §2.6.
final class SparseDescent: Strategy {
  private let parts: StrategyParts
  private let aggregation: any SparseAggregation
  private let gradient: FloatBuffer
  private let computation: GradientComputation
  private var guardian: NonFiniteGuard
  private var exchangeCount = 0
  private var agreementSeconds = 0.0
  private var exchangeSeconds = 0.0
  private var updateSeconds = 0.0

  init(_ parts: StrategyParts, _ aggregation: any SparseAggregation) {
    (self.parts, self.aggregation) = (parts, aggregation)
    gradient = FloatBuffer(count: parts.network.layout.count)
    computation = GradientComputation(parts)
    // What the guard says of a codec does not hold here.
    var plain = parts
    if let none = try? codecs.make("none") { plain.codec = none }
    guardian = NonFiniteGuard(plain)
  }

  func step(_ step: Int, from feed: SampleFeed, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    let samples = feed.plan.places(of: step).count
    let trafficBefore = aggregation.traffic
    let batch = try parts.timeline.span(.data) { feed.batch(at: step) }
    var own = try computation.compute(step, of: batch, among: samples, into: gradient)
    own.isStopRequested = StopSignal.isRequested
    own.rate = rate
    if isMeasured {
      own.gradientSquares = gradient.sumOfSquares
      own.residualSquares = aggregation.residualSquares
    }
    let stopwatch = Stopwatch()
    let agreement = try parts.timeline.span(.agreement) { try StepAgreement(own, over: parts.records, step: step) }
    agreementSeconds += stopwatch.seconds
    precondition(agreement.sum(\.sampleCount) == samples, "the ranks' slices are not the whole minibatch")

    let verdict = guardian.judge(step, agreement, parts)
    if let end = verdict.end { throw end }
    if !verdict.isSkipped { try exchange(step, rate: agreement.rate) }
    var outcome = StepOutcome()
    outcome.add(agreement, verdict)
    outcome.traffic = aggregation.traffic - trafficBefore
    return outcome
  }

  private func exchange(_ step: Int, rate: Float) throws {
    let stopwatch = Stopwatch()
    addWeightDecay()
    let update = try parts.timeline.span(.exchange) {
      try aggregation.descend(parts.parameters, by: gradient, step: step, rate: rate)
    }
    exchangeCount += 1
    updateSeconds += update
    exchangeSeconds += stopwatch.seconds - update
  }

  /// Every rank adds its share of λw, so that the sum of all gradients has it once.
  private func addWeightDecay() {
    let decay = Float(parts.options.weightDecay / Double(parts.grid.shareCount))
    guard decay > 0 else { return }
    for index in 0..<gradient.count {
      unsafe gradient.baseAddress[index] += decay * parts.parameters.baseAddress[index]
    }
  }

  func flush() -> Traffic { Traffic() }

  func settle() {}

  func abandon() { aggregation.abandon() }
}

// MARK: - State and reports

extension SparseDescent {
  func contribute(to inventory: inout StateInventory) {
    aggregation.contribute(to: &inventory)
    guardian.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    guardian.restore(counters)
    aggregation.restore(counters)
  }

  func forget() throws { aggregation.forget() }

  func carry(_ contributions: FloatBuffer, sums: FloatBuffer) {
    preconditionFailure("one rank remembers as several do: nothing is left to carry")
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    times.compute = computation.seconds
    times.wait = agreementSeconds + aggregation.waiting / .seconds(1)
    times.encode = exchangeSeconds - aggregation.waiting / .seconds(1)
    times.update = updateSeconds
    return times
  }

  var report: ExchangeReport {
    let hosts = parts.hosts
    var report = ExchangeReport()
    report.codec = aggregation.specification
    report.isCompressed = hosts.world.count > 1
    report.steps = exchangeCount
    report.traffic = aggregation.traffic
    report.predictedTraffic = aggregation.predictedTraffic
    report.predictsAtMost = true
    if let none = try? codecs.make("none") {
      let rule = hosts.remoteRanks.isEmpty ? ExchangeGeometry.SegmentRule.sharedWindow : .messages
      report.floatTraffic = ExchangeGeometry(parts.network.layout, codec: none, rankCount: hosts.world.count, rule: rule)
        .predictedTraffic(of: hosts.world.rank, over: hosts.routes(.flat))
    }
    report.agreementTraffic = parts.records.traffic
    return report
  }

  func finish() {}
}
