internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Networks

/// Synchronous data-parallel descent: every rank exchanges every step's gradient and makes the same update.
///
/// The steps of the warm start exchange floats; residuals start at the switch. With one rank nothing is exchanged, and the run is
/// plain stochastic gradient descent bit for bit.
/// Source: Seide et al. 2014; algorithms A7 and A8 (T1), §1.10.
final class AllReduce: Strategy {
  private let parts: StrategyParts
  private let gradient: SharedGradient
  /// Of the steps after the warm start.
  private let exchange: GradientExchange
  /// Of the warm start; nil where there is none.
  private let floats: GradientExchange?
  /// Where the aggregated gradient waits for its norm; empty without clipping.
  private let aggregate: FloatBuffer
  private let options: GradientExchange.Options
  private let injection: (step: Int, rank: Int)?
  private var guardian: NonFiniteGuard
  private var ownTimes = PhaseTimes()
  private var comparison = ExchangeComparison()
  /// What a run on more ranks had left behind, until the next gradient takes it along; nil otherwise.
  private var carried: FloatBuffer?

  init(_ parts: StrategyParts) throws {
    self.parts = parts
    let layout = parts.network.layout
    var options = GradientExchange.Options()
    options.timeout = .seconds(parts.options.timeout)
    self.options = options
    gradient = try SharedGradient(count: layout.count, hosts: parts.hosts)
    exchange = try GradientExchange(parts.codec, layout: layout, gradient: gradient, options: options)
    let isCompressed = !parts.codec.isIdentity && parts.hosts.world.count > 1
    floats =
      isCompressed && parts.plan.warmStart > 0
      ? try GradientExchange(codecs.make("none"), layout: layout, gradient: gradient, options: options) : nil
    aggregate = FloatBuffer(count: parts.options.clip == nil ? 0 : layout.count)
    injection = parts.options.injectNonFinite.flatMap(TrainerOptions.injection)
    guardian = NonFiniteGuard(policy: parts.options.nonFinite, codec: isCompressed ? parts.codec.specification : nil)
  }

  func step(_ step: Int, on batch: Minibatch, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    let exchange = step < parts.plan.warmStart ? floats ?? self.exchange : self.exchange
    var own = computeGradient(step, of: batch)
    own.isStopRequested = StopSignal.isRequested
    own.rate = rate
    if isMeasured {
      own.gradientSquares = gradient.values.sumOfSquares
      own.residualSquares = exchange.residual.sumOfSquares
    }
    let agreement = try ownTimes.measure(\.wait) { try StepAgreement(own, over: parts.records, step: step) }

    var outcome = StepOutcome(lossSum: agreement.sum(\.lossSum), sampleCount: agreement.sum(\.sampleCount))
    precondition(outcome.sampleCount == parts.plan.places(of: step).count, "the ranks' slices are not the whole minibatch")
    outcome.isStopRequested = agreement.statements.contains { $0.isStopRequested }
    outcome.residualRatio = agreement.residualRatio
    (outcome.isSkipped, outcome.warning) = try guardian.judge(
      step, agreement, tensors: parts.network.layout.tensors, hosts: parts.hosts,
      areParametersFinite: { self.parts.parameters.isFinite(in: 0..<self.parts.parameters.count) })
    if !outcome.isSkipped {
      outcome.traffic = try exchangeAndUpdate(step, over: exchange, rate: agreement.rate, samples: outcome.sampleCount)
    }
    return outcome
  }

  /// Computes this rank's part of the mean gradient, and looks at each tensor while it is in the cache.
  private func computeGradient(_ step: Int, of batch: Minibatch) -> StepAgreement.Statement {
    var watch = FiniteWatch()
    let tensors = parts.network.layout.tensors
    let isInjected = injection.map { $0 == (step, parts.hosts.world.rank) } ?? false
    let result = ownTimes.measure(\.compute) {
      parts.network.gradient(
        of: batch, parameters: parts.parameters, scale: 1 / Float(parts.plan.places(of: step).count), into: gradient.values
      ) { tensor in
        add(carried, in: tensors[tensor].range)
        if isInjected && tensor == 0 { gradient.values[tensors[0].range.lowerBound] = .nan }
        watch.look(at: tensor, range: tensors[tensor].range, of: gradient.values, clears: parts.options.nonFinite == .zero)
      }
    }
    return StepAgreement.Statement(
      sampleCount: batch.count, nonFiniteTensor: watch.firstTensor, clearedValues: watch.clearedValues, lossSum: result.lossSum)
  }

  /// Adds what is carried to a part of the gradient.
  private func add(_ carried: FloatBuffer?, in range: Range<Int>) {
    guard let carried else { return }
    for index in range { unsafe gradient.values.baseAddress[index] += carried.baseAddress[index] }
  }

  /// Exchanges the gradient; the update happens piece by piece while values are in the cache, unless a norm is needed first.
  private func exchangeAndUpdate(_ step: Int, over exchange: GradientExchange, rate: Float, samples: Int) throws -> Traffic {
    let (stopwatch, before) = (Stopwatch(), exchange.traffic)
    if let clip = parts.options.clip {
      try exchange.run(step: step, samples: samples, into: .buffer(aggregate))
      ownTimes.measure(\.update) { clipAndUpdate(to: clip, rate: rate) }
    } else {
      try exchange.run(
        step: step, samples: samples,
        into: .update { range, values in
          unsafe self.parts.optimizer.update(range, of: self.parts.parameters, with: values, rate: rate)
        })
    }
    comparison.add(stopwatch.seconds, isFloat: exchange === floats)
    carried = nil
    return exchange.traffic - before
  }

  /// Shortens the aggregated gradient to norm `limit` where it is longer, and updates.
  ///
  /// Every rank computes the same norm of the
  /// same bits.
  private func clipAndUpdate(to limit: Double, rate: Float) {
    let norm = aggregate.sumOfSquares.squareRoot()
    if norm > limit {
      let factor = Float(limit / norm)
      for index in 0..<aggregate.count { unsafe aggregate.baseAddress[index] *= factor }
    }
    unsafe parts.optimizer.update(0..<aggregate.count, of: parts.parameters, with: aggregate.baseAddress, rate: rate)
  }
}

// MARK: - State and reports

extension AllReduce {
  func contribute(to inventory: inout StateInventory) {
    inventory.replicated += parts.optimizer.state.map { SavedTensor($0.name, of: $0.values) }
    inventory.ownedRange = exchange.ownedRange
    if exchange.residual.count > 0 {
      inventory.own.append(SavedTensor("residual", of: exchange.residual))
      inventory.own.append(SavedTensor("ownerResidual", of: exchange.ownerResidual))
    }
    inventory.counters["skippedInARow"] = String(guardian.skippedInARow)
  }

  func restore(counters: [String: String]) {
    guardian.skippedInARow = counters["skippedInARow"].flatMap { Int($0) } ?? 0
  }

  func carry(_ remainder: FloatBuffer) { carried = remainder }

  var times: PhaseTimes {
    var times = ownTimes
    for exchange in [exchange, floats].compactMap({ $0 }) {
      times.encode += exchange.timing.encode / .seconds(1)
      times.wait += exchange.timing.wait / .seconds(1)
      // The owner's part is decoding for the most part, and the update is fused into the decoding of sums.
      times.decode += exchange.timing.sum / .seconds(1)
      if parts.options.clip == nil {
        times.update += exchange.timing.decode / .seconds(1)
      } else {
        times.decode += exchange.timing.decode / .seconds(1)
      }
    }
    return times
  }

  var report: ExchangeReport {
    let hosts = parts.hosts
    var report = ExchangeReport()
    report.parameterCount = parts.network.layout.count
    report.codec = exchange.codec.specification
    report.isCompressed = !exchange.codec.isIdentity && hosts.world.count > 1
    report.warmStartSteps = floats?.exchangeCount ?? 0
    report.warmStartTraffic = floats?.traffic ?? Traffic()
    report.steps = exchange.exchangeCount
    report.traffic = exchange.traffic
    report.predictedTraffic = exchange.predictedTraffic
    if let none = try? codecs.make("none") {
      let rule = hosts.remoteRanks.isEmpty ? ExchangeGeometry.SegmentRule.sharedWindow : .messages
      report.floatTraffic = ExchangeGeometry(parts.network.layout, codec: none, rankCount: hosts.world.count, rule: rule)
        .predictedTraffic(of: hosts.world.rank) { hosts.hostRanks[$0] != nil }
    }
    report.nonFiniteGroups = exchange.nonFiniteGroups
    report.agreementTraffic = parts.records.traffic
    report.floatSeconds = comparison.floatSeconds
    report.codedSeconds = comparison.codedSeconds
    return report
  }

  func finish() throws {
    guard !exchange.codec.isIdentity, parts.hosts.world.count > 1 else { return }
    // Inside one host trial exchanges take no time worth mentioning; over a slow network they might.
    if floats == nil && exchange.exchangeCount > 0 && parts.hosts.hostCount == 1 { try tryFloats() }
    try comparison.settle(over: parts.records)
  }

  /// Exchanges the last gradient a few times as floats, with an update of scratch memory that costs what the real one does.
  private func tryFloats() throws {
    let count = gradient.values.count
    let (weights, momenta) = (FloatBuffer(count: count), FloatBuffer(count: count))
    let trial = try GradientExchange(
      codecs.make("none"), layout: parts.network.layout, gradient: gradient, options: options)
    for step in 0..<7 {
      _ = try parts.records.gather([UInt64(step)], activity: "a trial exchange of floats")
      let stopwatch = Stopwatch()
      try trial.run(
        step: step,
        into: .update { range, values in
          unsafe sgdUpdate(
            weights: weights.values(in: range).baseAddress!, gradient: values,
            momenta: momenta.values(in: range).baseAddress!, count: range.count, step: DescentStep(rate: 0, momentum: 0.5))
        })
      if step > 1 { comparison.add(stopwatch.seconds, isFloat: true) }
    }
  }
}
