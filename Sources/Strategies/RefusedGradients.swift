internal import Buffers
internal import Checkpoints
internal import Files

/// What is done about gradients that workers have left out because they were not finite: told at the next meeting, the same on every rank.
///
/// Such a gradient changes nothing. A run ends if there was no other in ten steps in a row, or at the first with `--non-finite abort`.
/// Where ranks meet after rounds of steps, what a rank contributes to a round takes the place of a gradient, and a round that of a step.
struct RefusedGradients {
  /// What is left out as a whole.
  enum Unit {
    case gradients, rounds
  }

  private let unit: Unit
  /// Its steps in a row are those, or the rounds, of which nothing was finite.
  private var policy: NonFinitePolicyState

  init(_ parts: StrategyParts, counting unit: Unit = .gradients) {
    (policy, self.unit) = (NonFinitePolicyState(parts), unit)
  }

  /// Judges the `gradientCount` gradients of the steps `steps`, by what the ranks have left out.
  ///
  /// - Returns: A warning for the user; nil if there is nothing to tell.
  /// - Throws: `TrainingError` on every rank if the run must not go on.
  mutating func judge(_ steps: Range<Int>, gradientCount: Int, _ agreement: StepAgreement) throws(TrainingError) -> String? {
    let count = agreement.sum(\.clearedValues)
    guard let found = agreement.firstNonFinite else {
      policy.stepsInARow = 0
      return policy.warning(ofCleared: count, in: "up to step \(steps.upperBound)")
    }
    let isRound = unit == .rounds
    let sentence =
      "up to step \(steps.upperBound): \(counted(count, isRound ? "contribution" : "gradient")) not finite "
      + "(\(policy.name(found))), left out \(isRound ? "of the round" : "by the workers")"
    policy.stepsInARow = count >= gradientCount ? policy.stepsInARow + (isRound ? 1 : steps.count) : 0
    let row = "\(policy.stepsInARow) \(isRound ? "rounds" : "steps") in a row had no other"
    if let end = policy.end(sentence, row: row) { throw end }
    return sentence
  }

  func contribute(to inventory: inout StateInventory) { inventory.counters["refusedSteps"] = String(policy.stepsInARow) }

  mutating func restore(_ counters: [String: String]) { policy.stepsInARow = counters["refusedSteps"].flatMap { Int($0) } ?? 0 }
}
