internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Files
internal import Kernels
internal import MPI
internal import Networks
internal import Transport

/// Decides what to do with a step whose gradient is not finite on some rank, the same on every rank.
///
/// Source: algorithms A5. A skipped step changes no parameter, residual or momentum; the step counter still advances. If a step
/// has parts that are judged separately, one with a skipped part counts as skipped.
struct NonFiniteGuard {
  /// The number of consecutive skipped steps that ends the run.
  static let limit = 10

  let policy: NonFinitePolicy
  /// The number of consecutive skipped steps, up to the last judged.
  private var skippedInARow = 0
  /// The step that was judged last, and whether a part of it was skipped; nil if that was before this job or a trial.
  private var last: (step: Int, isSkipped: Bool)?
  /// Whether the last step had values replaced by zero.
  private var isClearing = false
  private var residuals: ResidualWatch

  /// A guard that follows the policy of the run.
  init(_ parts: StrategyParts) {
    policy = parts.options.nonFinite
    // The state of changes is no measure of gradients.
    let codec = parts.isCompressed ? parts.aggregation.codec : nil
    residuals = ResidualWatch(codec: codec?.specification, exchangesUntilSent: codec?.exchangesUntilSent ?? 1)
  }

  /// Adds its counts to the inventory.
  func contribute(to inventory: inout StateInventory) {
    inventory.counters["skippedInARow"] = String(last?.isSkipped ?? true ? skippedInARow : 0)
  }

  /// Restores its counts.
  mutating func restore(_ counters: [String: String]) {
    skippedInARow = counters["skippedInARow"].flatMap { Int($0) } ?? 0
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
  mutating func judge(
    _ step: Int, _ agreement: StepAgreement, _ parts: StrategyParts, _ what: String = "the step"
  ) -> Verdict {
    if let last, last.step != step, !last.isSkipped { skippedInARow = 0 }
    if last?.step != step { last = (step, false) }
    guard let (rank, tensor) = agreement.firstNonFinite else {
      let warning = residuals.add(agreement.residualRatio, norm: agreement.sum(\.residualSquares).squareRoot())
      let cleared = agreement.sum(\.clearedValues)
      defer { isClearing = cleared > 0 }
      // Once per run of such steps, as below.
      guard cleared > 0 && !isClearing else { return Verdict(warning: warning) }
      return Verdict(warning: "step \(step + 1): \(counted(cleared, "value")) of the gradients not finite, set to zero")
    }
    if last?.isSkipped == false { skippedInARow += 1 }
    last = (step, true)
    let all = parts.grid.all
    let who = all.world.count > 1 ? " on \(all.name(of: rank))" : ""
    let sentence = "step \(step + 1): the gradient of \(parts.network.layout.tensors[tensor].name)\(who) is not finite"
    guard policy != .abort, skippedInARow < NonFiniteGuard.limit else {
      let row = skippedInARow > 1 ? ", and \(skippedInARow) steps in a row were skipped for such gradients" : ""
      let end = TrainingError(
        "\(sentence)\(row); \(advice(parts.parameters.isFinite(in: 0..<parts.parameters.count)))", exitStatus: .configuration)
      return Verdict(isSkipped: true, end: end)
    }
    // Once per run of such steps: the message that ends the run, if it comes to that, reports their number.
    return Verdict(isSkipped: true, warning: skippedInARow == 1 ? "\(sentence); \(what) is skipped on all ranks" : nil)
  }

  /// The likely cause, and the remedy.
  private func advice(_ areParametersFinite: Bool) -> String {
    if let hint = residuals.hint { return hint }
    return areParametersFinite
      ? "lower --learning-rate, or look for values in the data that are not finite"
      : "the parameters themselves are not finite any more; lower --learning-rate and start again from the last checkpoint"
  }
}

extension StepAgreement {
  /// ‖residuals of all ranks‖/‖gradients of all ranks‖; 0 without residuals or if the norms were not measured.
  var residualRatio: Double {
    let (gradient, residual) = (sum(\.gradientSquares), sum(\.residualSquares))
    return gradient > 0 && gradient.isFinite ? (residual / gradient).squareRoot() : 0
  }
}
