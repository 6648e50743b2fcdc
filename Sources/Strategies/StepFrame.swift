package import Buffers
package import Collectives
internal import Datasets
internal import Kernels
internal import MPI
internal import Networks
internal import Reporting
internal import Transport

/// The frame of a step, or of a part of one: this rank's samples, their gradient, the agreement on it, and whether it counts.
///
/// Every strategy in step does its steps in this frame; what is exchanged when, and what is done with it, is up to the strategy. Those that
/// agree less often compute their gradients by the same `GradientComputation`, and agree on several at once.
package final class StepFrame {
  /// Which samples of a step a rank takes.
  package enum Portion {
    /// Its share of all samples.
    case share
    /// Its share of one of the parts of the step.
    case part(Int, of: Int)
    /// All samples, like every other rank.
    case everything
  }

  /// What the ranks reported, and the verdict: the same on every rank.
  package struct Judgement {
    let agreement: StepAgreement
    let verdict: NonFiniteGuard.Verdict
  }

  private let parts: StrategyParts
  private let driver: ExchangeDriver
  package let computation: GradientComputation
  private var nonFiniteGuard: NonFiniteGuard
  /// Seconds spent waiting for the statements of other ranks.
  private(set) var agreementSeconds = 0.0

  package init(_ parts: StrategyParts, driver: ExchangeDriver) {
    (self.parts, self.driver) = (parts, driver)
    computation = GradientComputation(parts)
    nonFiniteGuard = NonFiniteGuard(parts)
    computation.betweenLayers = driver.betweenLayers
  }

  /// Computes a gradient, reports on it to the other ranks, and judges it by their reports.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - step: The step, from 0.
  ///   - course: The samples and the learning rate.
  ///   - portion: Which samples to take.
  ///   - gradient: The output, (1/N)·Σ over this rank's samples, N being the samples of the whole step over all ranks.
  ///   - needsNorm: Whether the norm of the gradient is needed.
  ///   - ready: Called as tensors become final, with the end of the final part.
  ///   - computed: Called when the gradient is complete, to add to this rank's statement.
  ///   - sent: Called when this rank's statement is sent, while the others send theirs.
  /// - Throws: Also the error that ends the run on all ranks (``NonFiniteGuard/Verdict/end``), after `ending` was called.
  @discardableResult
  package func run(
    _ step: Int, on course: Course, _ portion: Portion = .share, into gradient: FloatBuffer, needsNorm: Bool,
    ready: (_ end: Int) -> Void = { _ in }, computed: (inout StepAgreement.Statement) throws -> Void = { _ in },
    sent: () throws -> Void = {}, ending: () throws -> Void = {}
  ) throws -> Judgement {
    let statistics = parts.network.statistics
    if case .everything = portion {
      // Every rank has the whole batch.
    } else {
      statistics?.exchange = parts.statistics
      parts.statistics?.meanwhile = driver.turn
    }
    defer { statistics?.exchange = nil }
    var own = try compute(step, on: course, portion, into: gradient, needsNorm: needsNorm, ready: ready)
    try computed(&own)
    if case .everything = portion, parts.hosts.world.rank > 0 {
      // All ranks have the same samples, which count once.
      let tensor = own.nonFiniteTensor
      own = StepAgreement.Statement()
      own.nonFiniteTensor = tensor
    }
    own.isStopRequested = StopSignal.isRequested
    own.rate = course.rate(step)
    try StepAgreement.send(own, over: parts.records)
    try sent()
    let stopwatch = Stopwatch()
    let agreement = try parts.timeline.span(.agreement) {
      try StepAgreement(over: parts.records, step: step, meanwhile: driver.turn)
    }
    agreementSeconds += stopwatch.seconds
    require(
      agreement.sum(\.sampleCount) == course.loader.plan.samples(of: step, portion),
      "the ranks' samples are not those of the step, or of its part")
    let verdict = nonFiniteGuard.judge(step, agreement, portion.name)
    if let end = verdict.end {
      try ending()
      throw end
    }
    return Judgement(agreement: agreement, verdict: verdict)
  }

  /// Loads this rank's samples and computes their gradient; nothing crosses between ranks.
  ///
  /// - Parameters: Those of ``run(_:on:_:into:needsNorm:ready:computed:sent:ending:)``.
  /// - Returns: What this rank has to state about it.
  package func compute(
    _ step: Int, on course: Course, _ portion: Portion = .share, into gradient: FloatBuffer, needsNorm: Bool,
    ready: (_ end: Int) -> Void = { _ in }
  ) throws -> StepAgreement.Statement {
    let plan = course.loader.plan
    let sampleCount = plan.places(of: step).count
    var own = try computation.compute(
      step, on: course, part: portion.part, among: sampleCount,
      share: Float(plan.samples(of: step, portion)) / Float(sampleCount), into: gradient, ready: ready
    ) { course.loader.batch(at: step, portion) }
    if needsNorm { own.gradientSquares = gradient.sumOfSquares }
    return own
  }

  /// Computes the gradient of the same samples at another model; of what comes of it only the gradient counts.
  package func computeAgain(_ step: Int, on course: Course, at point: SecondPoint) throws {
    let batch = try parts.timeline.span(.data) { course.loader.batch(at: step) }
    _ = try computation.compute(
      step, of: batch, among: course.loader.plan.places(of: step).count, at: point.model, into: point.gradient)
  }

  func contribute(to inventory: inout StateInventory) {
    computation.contribute(to: &inventory)
    nonFiniteGuard.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    computation.restore(counters: counters)
    nonFiniteGuard.restore(counters)
  }
}

extension StepFrame.Portion {
  fileprivate var part: Int? { if case .part(let part, _) = self { part } else { nil } }

  fileprivate var name: String { part == nil ? "the step" : "this half of the step" }
}

extension RunPlan {
  /// The number of samples over all ranks of a step, or of a part of it.
  fileprivate func samples(of step: Int, _ portion: StepFrame.Portion) -> Int {
    if case .part(let part, let parts) = portion {
      places(of: step, part: part, of: parts).count
    } else {
      places(of: step).count
    }
  }
}

extension BatchLoader {
  fileprivate func batch(at step: Int, _ portion: StepFrame.Portion) -> Minibatch {
    switch portion {
    case .share: batch(at: step)
    case .part(let part, let parts): batch(at: step, part: part, of: parts)
    case .everything: wholeBatch(at: step)
    }
  }
}
