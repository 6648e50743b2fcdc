internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives

/// Decides what to do with a step whose gradient is not finite on some rank, the same on every rank.
///
/// Source: algorithms A5. A skipped step changes no parameter, residual or momentum; the step counter still advances. If a step
/// has parts that are judged separately, one with a skipped part counts as skipped.
struct NonFiniteGuard {
  private var policy: NonFinitePolicyState
  /// The step that was judged last, and whether a part of it was skipped; nil if that was before this job or a trial.
  private var last: (step: Int, isSkipped: Bool)?
  private var residuals: ResidualWatch

  /// A guard that follows the policy of the run.
  init(_ parts: StrategyParts) {
    policy = NonFinitePolicyState(parts)
    // The state of changes is no measure of gradients.
    let codec = parts.isCompressed ? parts.aggregation.codec : nil
    residuals = ResidualWatch(codec: codec?.specification, exchangesUntilSent: codec?.exchangesUntilSent ?? 1)
  }

  /// Adds its counts to the inventory.
  func contribute(to inventory: inout StateInventory) {
    inventory.counters["skippedInARow"] = String(last?.isSkipped ?? true ? policy.stepsInARow : 0)
  }

  /// Restores its counts.
  mutating func restore(_ counters: [String: String]) {
    policy.stepsInARow = counters["skippedInARow"].flatMap { Int($0) } ?? 0
    last = nil
  }

  /// The verdict on a step.
  struct Verdict {
    /// Whether it changes nothing, on all ranks.
    var isSkipped = false
    /// A warning for the user.
    var warning: String?
    /// Why the run ends with this step, on all ranks; it names tensor, rank and step.
    var end: TrainingError?
  }

  /// Judges a step, or a part of one, by the statements of all ranks; `what` names it in messages.
  mutating func judge(_ step: Int, _ agreement: StepAgreement, _ what: String = "the step") -> Verdict {
    if let last, last.step != step, !last.isSkipped { policy.stepsInARow = 0 }
    if last?.step != step { last = (step, false) }
    guard let found = agreement.firstNonFinite else {
      let warning = residuals.add(agreement.residualRatio, norm: agreement.sum(\.residualSquares).squareRoot())
      let cleared = policy.warning(ofCleared: agreement.sum(\.clearedValues), in: "step \(step + 1)")
      return Verdict(warning: cleared ?? warning)
    }
    if last?.isSkipped == false { policy.stepsInARow += 1 }
    last = (step, true)
    let (sentence, count) = ("step \(step + 1): the gradient of \(policy.name(found)) is not finite", policy.stepsInARow)
    let row = "\(count) steps in a row were skipped for such gradients"
    if let end = policy.end(sentence, row: row, hint: residuals.hint) { return Verdict(isSkipped: true, end: end) }
    // Once per run of such steps: the message that ends the run, if it comes to that, reports their number.
    return Verdict(isSkipped: true, warning: count == 1 ? "\(sentence); \(what) is skipped on all ranks" : nil)
  }
}

extension StepAgreement {
  /// ‖residuals of all ranks‖/‖gradients of all ranks‖; 0 without residuals or if the norms were not measured.
  var residualRatio: Double {
    let (gradient, residual) = (sum(\.gradientSquares), sum(\.residualSquares))
    return gradient > 0 && gradient.isFinite ? (residual / gradient).squareRoot() : 0
  }
}
