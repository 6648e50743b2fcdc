internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Files
internal import Networks

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
  private let policy: NonFinitePolicy
  private let layout: TensorLayout
  /// The steps in a row, up to the last meeting, of which no gradient was finite.
  private var stepsInARow = 0
  /// Whether values were set to zero before the last meeting.
  private var isClearing = false

  init(_ parts: StrategyParts, counting unit: Unit = .gradients) {
    (policy, layout, self.unit) = (parts.options.nonFinite, parts.network.layout, unit)
  }

  /// Judges the `gradientCount` gradients of the steps `steps`, by what the ranks have left out.
  ///
  /// - Returns: A warning for the user; nil if there is nothing to tell.
  /// - Throws: `TrainingError` on every rank if the run must not go on.
  mutating func judge(_ steps: Range<Int>, gradientCount: Int, _ agreement: StepAgreement) throws(TrainingError) -> String? {
    let count = agreement.sum(\.clearedValues)
    guard let (rank, tensor) = agreement.firstNonFinite else {
      defer { (stepsInARow, isClearing) = (0, count > 0) }
      // Once per run of such meetings.
      guard count > 0 && !isClearing else { return nil }
      return "up to step \(steps.upperBound): \(counted(count, "value")) of the gradients not finite, set to zero"
    }
    let isRound = unit == .rounds
    let sentence =
      "up to step \(steps.upperBound): \(counted(count, isRound ? "contribution" : "gradient")) not finite "
      + "(\(layout.tensors[tensor].name) on rank \(rank)), left out \(isRound ? "of the round" : "by the workers")"
    stepsInARow = count >= gradientCount ? stepsInARow + (isRound ? 1 : steps.count) : 0
    guard policy != .abort, stepsInARow < NonFiniteGuard.limit else {
      let row = stepsInARow > 1 ? ", and \(stepsInARow) \(isRound ? "rounds" : "steps") in a row had no other" : ""
      throw TrainingError(
        "\(sentence)\(row); lower --learning-rate, or look for values in the data that are not finite",
        exitStatus: .configuration)
    }
    return sentence
  }

  func contribute(to inventory: inout StateInventory) { inventory.counters["refusedSteps"] = String(stepsInARow) }

  mutating func restore(_ counters: [String: String]) { stepsInARow = counters["refusedSteps"].flatMap { Int($0) } ?? 0 }
}
