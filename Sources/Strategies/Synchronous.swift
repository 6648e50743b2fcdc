internal import Buffers
internal import Collectives
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Synchronous data-parallel training: every rank exchanges every step's gradient and makes the same change.
///
/// Between hosts the exchange overlaps with the backward pass: tensors are sent as they become final, and only the change
/// waits until all ranks have reported that their gradients are finite (``Overlap``). Aggregations that cannot be discarded
/// begin after that. Steps of the warm start are exchanged in their own ways (``WarmStartPhase``). With one rank nothing is
/// exchanged, and the run is plain stochastic gradient descent bit for bit.
///
/// An optimizer may have ranks take some steps locally (`LocalStepOptimizer`): they still agree on each, and meet where all have the same
/// model again.
/// Source: Seide et al. 2014; algorithms A7 and A8 (T1), §1.10.
/// - Cost: in a step one exchange of the aggregation, for a coded all-reduce 2 (K − 1)/K of the codes of a gradient, and a record of
///   64 bytes to each other rank; in a local step of the optimizer only the record.
final class Synchronous: EngineStrategy {
  static let schedule = ExchangeSchedule.synchronous
  let engine: StepEngine
  /// The optimizer, if ranks take some of its steps locally.
  private let localSteps: (any LocalStepOptimizer)?
  /// Whether exchanges begin before gradients are final.
  private var beginsEarly: Bool { engine.driver.overlap != .off }

  init(_ parts: StrategyParts) throws {
    engine = try StepEngine(parts, Synchronous.schedule)
    localSteps = parts.optimizer.localSteps
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    var outcome = try advance(step, isLast: step + 1 == meeting, on: course)
    while let localSteps, case let next = step + outcome.stepCount, next < meeting, next % localSteps.stepsPerMeeting != 0 {
      // The loop of the run has said so of the first.
      try FaultInjector.reach(.step, next + 1)
      outcome.add(try advance(next, isLast: next + 1 == meeting, on: course))
    }
    return outcome
  }

  /// Does one step, the last before a meeting if `isLast`.
  private func advance(_ step: Int, isLast: Bool, on course: Course) throws -> StepOutcome {
    let gradient = engine.gradients[0].values
    engine.parts.optimizer.begin(step)
    if let localSteps, localSteps.takesLocally(step), !isLast {
      return try take(step, locally: localSteps, on: course, into: gradient)
    }
    if engine.parts.optimizer.changesContributions(at: step) { engine.aggregations.forget() }
    guard let exchange = engine.aggregations.aggregation(of: step, in: course.loader.plan) else {
      return try engine.replicated.step(step, on: course, into: gradient)
    }
    let (isMeasured, isWatched) = (course.isMeasured(step), engine.watches(step, on: course))
    let (samples, trafficBefore) = (course.loader.plan.places(of: step).count, exchange.traffic)
    let residualSquares = isMeasured ? exchange.residualSquares : 0
    var contribution = Contribution(step: course.drawNumber(step), samples: samples, isReady: false)
    if beginsEarly { try begin(exchange, contribution) }
    let judgement = try engine.frame.run(
      step, on: course, into: gradient, needsNorm: isMeasured || isWatched, ready: exchange.markReady,
      computed: {
        $0.residualSquares = residualSquares
        if let point = exchange.secondPoint { try engine.frame.computeAgain(step, on: course, at: point) }
      },
      ending: { if beginsEarly { try discard(exchange) } })
    let agreement = judgement.agreement
    let isSkipped = judgement.verdict.isSkipped
    if isSkipped && beginsEarly { try discard(exchange) }
    // What local steps before a step that is skipped have done is exchanged all the same.
    if !isSkipped || localSteps?.contributeLocalSteps(to: gradient) == true {
      (contribution.isReady, contribution.rate) = (true, isSkipped ? 0 : agreement.rate)
      if !beginsEarly || isSkipped { try begin(exchange, contribution) }
      let stopwatch = Stopwatch()
      let sumSquares = try engine.update.apply(rate: contribution.rate, samples: samples, isMeasured: isWatched) { sink in
        try engine.parts.timeline.span(.exchange) {
          try engine.aggregations.deliver(exchange, by: engine.driver, into: sink)
        }
      }
      engine.aggregations.note(stopwatch.seconds, of: exchange)
      if !isSkipped { engine.frame.computation.accept() }
      if isWatched, let sumSquares { engine.start.note(agreement, sumSquares: sumSquares) }
    }
    var outcome = StepOutcome()
    outcome.add(judgement)
    if isWatched { engine.decideStart(after: step, on: course, noting: &outcome) }
    outcome.traffic = exchange.traffic - trafficBefore
    return outcome
  }

  /// Does a step that each rank takes with its own gradient.
  private func take(
    _ step: Int, locally optimizer: any LocalStepOptimizer, on course: Course, into gradient: FloatBuffer
  ) throws -> StepOutcome {
    optimizer.beginLocalStep()
    let judgement = try engine.frame.run(step, on: course, into: gradient, needsNorm: course.isMeasured(step))
    if !judgement.verdict.isSkipped {
      optimizer.updateLocally(engine.parts.parameters, with: gradient, rate: judgement.agreement.rate)
      engine.frame.computation.accept()
    }
    var outcome = StepOutcome()
    outcome.add(judgement)
    return outcome
  }

  private func begin(_ exchange: any Aggregation, _ contribution: Contribution) throws {
    try engine.aggregations.begin(exchange, contribution)
    engine.driver.drive(exchange)
  }

  private func discard(_ exchange: any Aggregation) throws {
    try engine.parts.timeline.span(.exchange) { try engine.driver.discard(exchange) }
  }

  func drain() -> Traffic { Traffic() }

  func settle() {}
}
