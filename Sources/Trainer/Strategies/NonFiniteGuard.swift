internal import Buffers
internal import Collectives
internal import MPI

/// Decides what becomes of a step whose gradient is not finite on some rank, the same on every rank.
///
/// Source: algorithms A5. A skipped step changes no parameter, residual or momentum; the step counter goes on.
struct NonFiniteGuard {
  /// So many skipped steps in a row end the run.
  static let limit = 10

  let policy: NonFinitePolicy
  /// The codec, nil where nothing is left in residuals.
  let codec: String?
  /// Steps skipped since the last that was done.
  var skippedInARow = 0
  /// The share of what is left in residuals, at the first step that left something and at the last that was looked at.
  private var firstRatio: Double?
  private var lastRatio: Double?

  init(policy: NonFinitePolicy, codec: String?) {
    self.policy = policy
    self.codec = codec
  }

  /// Whether the norms of a step are wanted although nobody logs it: the first one after a codec left something behind.
  var wantsNorms: Bool { codec != nil && firstRatio == nil }

  /// Judges a step by what all ranks said.
  ///
  /// - Returns: whether the step is skipped, and what the user should be told.
  /// - Throws: `TrainingError` where the run ends, naming tensor, rank and step.
  mutating func judge(
    _ step: Int, _ agreement: StepAgreement, tensors: [Tensor], hosts: HostMap, areParametersFinite: () -> Bool
  ) throws(TrainingError) -> (isSkipped: Bool, warning: String?) {
    guard let (rank, tensor) = agreement.firstNonFinite else {
      skippedInARow = 0
      if agreement.residualRatio > 0 {
        firstRatio = firstRatio ?? agreement.residualRatio
        lastRatio = agreement.residualRatio
      }
      let cleared = agreement.sum(\.clearedValues)
      guard cleared > 0 else { return (false, nil) }
      return (false, "step \(step + 1): \(counted(cleared, "value")) of the gradients not finite, set to zero")
    }
    skippedInARow += 1
    let who = hosts.world.count > 1 ? " on \(hosts.name(of: rank))" : ""
    let sentence = "step \(step + 1): the gradient of \(tensors[tensor].name)\(who) is not finite"
    guard policy != .abort, skippedInARow < NonFiniteGuard.limit else {
      let row = skippedInARow > 1 ? ", and \(skippedInARow) steps in a row were skipped for such gradients" : ""
      throw TrainingError("\(sentence)\(row); \(advice(areParametersFinite()))", exitStatus: .configuration)
    }
    // Once for each row of such steps: the sentence that ends the run, if it comes to that, says how many there were.
    return (true, skippedInARow == 1 ? "\(sentence); the step is skipped on all ranks" : nil)
  }

  /// What is the likely cause, and what to do.
  private func advice(_ areParametersFinite: Bool) -> String {
    if let codec, let firstRatio, let lastRatio, lastRatio > 3 * firstRatio {
      let growth = "from \(rounded(firstRatio)) to \(rounded(lastRatio)) times the gradients"
      return
        "residuals grew \(growth): the codec \(codec) cannot follow this learning rate; lower --learning-rate or lengthen --warm-start"
    }
    return areParametersFinite
      ? "lower --learning-rate, or look for values in the data that are not finite"
      : "the parameters themselves are not finite any more; lower --learning-rate and start again from the last checkpoint"
  }

  private func rounded(_ value: Double) -> String { String((value * 10).rounded() / 10) }
}

extension StepAgreement {
  /// ‖residuals of all ranks‖/‖gradients of all ranks‖; 0 where nothing is left behind or the norms were not wanted.
  var residualRatio: Double {
    let (gradient, residual) = (sum(\.gradientSquares), sum(\.residualSquares))
    return gradient > 0 && gradient.isFinite ? (residual / gradient).squareRoot() : 0
  }
}
