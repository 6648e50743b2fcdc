internal import Buffers
internal import Collectives
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Double buffering with half batches: while one half of a minibatch is computed, the gradient of the half before is exchanged.
///
/// Half *h* is computed with all changes up to that of half *h* − 2, so the delay is exactly half a minibatch. After it is
/// computed, the exchange of half *h* − 1 is awaited and applied, at the rate of its own step, and that of half *h* begins.
/// Each half carries 1/N of its samples' gradients, N being the whole minibatch: the rate per sample is that of `all-reduce`.
/// The delay also applies with one rank, where nothing is exchanged. What is in flight is applied after the last step.
/// Source: Seide et al. 2014, section 3.3; algorithms §1.5.
/// - Cost: in a step two exchanges of the aggregation, each of all values, and two records of 64 bytes to each other rank; memory for two
///   gradients and a sum.
final class Delayed: EngineStrategy {
  static let schedule = ExchangeSchedule.halves
  /// The number of parts of a minibatch.
  private static let parts = schedule.exchangesInStep

  /// An exchange in flight.
  private struct Flight {
    let exchange: any Aggregation
    /// The learning rate of its step, used for its update.
    let rate: Float
    /// The number of samples whose gradient it carries.
    let samples: Int
    /// Their share of the step.
    let share: Float
    /// The traffic counted before it.
    let trafficBefore: Traffic
    /// The agreement on it, if an automatic warm start watches.
    let watched: StepAgreement?
  }

  let engine: StepEngine
  private var flight: Flight?
  /// The index of the gradient that is computed next.
  private var turn = 0
  /// A result that has arrived but is not yet applied, with the learning rate of its step; the rate is nil if there is none.
  private let arrived: FloatBuffer
  private var arrivedRate: Float?
  private var arrivedSamples = 0
  private var arrivedShare: Float = 1
  /// The traffic of exchanges settled between steps.
  private var settledTraffic = Traffic()

  init(_ parts: StrategyParts) throws {
    engine = try StepEngine(parts, Delayed.schedule)
    arrived = FloatBuffer(count: parts.network.layout.count)
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let loader = course.loader
    guard engine.aggregations.aggregation(of: step, in: loader.plan) != nil else {
      return try engine.replicated.step(step, on: course, into: engine.gradients[turn].values)
    }
    let (isMeasured, isWatched) = (course.isMeasured(step), engine.watches(step, on: course))
    var outcome = StepOutcome()
    let samples = loader.plan.places(of: step).count
    for part in 0..<Delayed.parts where !loader.plan.places(of: step, part: part, of: Delayed.parts).isEmpty {
      guard let exchange = engine.aggregations.aggregation(of: step, in: loader.plan) else { continue }
      let judgement = try engine.frame.run(
        step, on: course, .part(part, of: Delayed.parts), into: engine.gradients[turn].values,
        needsNorm: isMeasured || isWatched,
        computed: { statement in
          guard isMeasured else { return }
          // The residual is still changing before this.
          outcome.traffic += try applyOldest()
          statement.residualSquares = exchange.residualSquares
        },
        // The agreement goes on during the exchange of the previous half.
        sent: { outcome.traffic += try applyOldest() })
      if !judgement.verdict.isSkipped {
        let number = Delayed.parts * course.drawNumber(step) + part
        try begin(exchange, number, judgement.agreement, of: samples, isWatched: isWatched)
      }
      outcome.add(judgement)
    }
    if isWatched { engine.decideStart(after: step, on: course, noting: &outcome) }
    return outcome
  }

  /// Hands over the gradient just computed, and turns to the other.
  private func begin(
    _ exchange: any Aggregation, _ number: Int, _ agreement: StepAgreement, of stepSamples: Int, isWatched: Bool
  ) throws {
    let samples = agreement.sum(\.sampleCount)
    flight = Flight(
      exchange: exchange, rate: agreement.rate, samples: samples, share: Float(samples) / Float(stepSamples),
      trafficBefore: exchange.traffic, watched: isWatched ? agreement : nil)
    let contribution = Contribution(
      step: number, samples: samples, buffer: turn, rate: agreement.rate,
      share: Double(samples) / Double(stepSamples))
    try engine.aggregations.begin(exchange, contribution)
    engine.driver.drive(exchange)
    engine.frame.computation.accept()
    turn = 1 - turn
  }

  /// Waits for the exchange of the previous half, if one is in flight, and applies it; returns its traffic.
  private func applyOldest() throws -> Traffic {
    if let rate = arrivedRate {
      try engine.update.apply(arrived, rate: rate, samples: arrivedSamples, share: arrivedShare)
      arrivedRate = nil
    }
    guard let flight else {
      defer { settledTraffic = Traffic() }
      return settledTraffic
    }
    let stopwatch = Stopwatch()
    let sumSquares = try engine.update.apply(
      rate: flight.rate, samples: flight.samples, share: flight.share, isMeasured: flight.watched != nil
    ) { sink in
      try engine.parts.timeline.span(.exchange) {
        try engine.aggregations.deliver(flight.exchange, by: engine.driver, into: sink)
      }
    }
    engine.aggregations.note(stopwatch.seconds, of: flight.exchange)
    if let agreement = flight.watched, let sumSquares { engine.start.note(agreement, sumSquares: sumSquares) }
    self.flight = nil
    return flight.exchange.traffic - flight.trafficBefore
  }

  func settle() throws {
    guard let flight else { return }
    try engine.parts.timeline.span(.exchange) {
      try engine.aggregations.deliver(flight.exchange, by: engine.driver, into: .buffer(arrived))
    }
    (arrivedRate, arrivedSamples, arrivedShare) = (flight.rate, flight.samples, flight.share)
    settledTraffic += flight.exchange.traffic - flight.trafficBefore
    if let agreement = flight.watched { engine.start.note(agreement, sumSquares: try engine.update.sumOfSquares(of: arrived)) }
    self.flight = nil
  }

  func drain() throws -> Traffic { try applyOldest() }
}

// MARK: - State and reports

extension Delayed {
  func contribute(to inventory: inout StateInventory) {
    require(flight == nil, "state is read while an exchange is under way")
    engine.contribute(to: &inventory)
    inventory.tensors.append(SavedTensor("arrivedGradient", of: arrived))
    inventory.counters["arrivedSamples"] = String(arrivedSamples)
    inventory.counters["arrivedShare"] = String(arrivedShare.bitPattern)
    inventory.counters["arrivedRate"] = arrivedRate.map { String($0.bitPattern) } ?? "none"
  }

  func restore(counters: [String: String]) {
    engine.restore(counters: counters)
    arrivedSamples = counters["arrivedSamples"].flatMap { Int($0) } ?? 0
    arrivedShare = counters["arrivedShare"].flatMap { UInt32($0) }.map { Float(bitPattern: $0) } ?? 1
    arrivedRate = counters["arrivedRate"].flatMap { UInt32($0) }.map { Float(bitPattern: $0) }
  }

  func forget() throws {
    settledTraffic += try applyOldest()
    engine.forget()
  }

  var report: ExchangeReport {
    var report = engine.aggregations.report
    report.shape.exchangesInStep = Delayed.parts
    return report
  }
}
