internal import Buffers
internal import Files

/// Measures the float gradients of an automatic warm start, and decides when codes can take over.
///
/// Every rank comes to the same decision by itself: norms of contributions come with the agreement on a step, in rank order,
/// and the sum that arrives is the same bits everywhere.
/// - Cost: Two passes over the gradient in each step that is measured; nothing is sent.
package struct AutomaticStart {
  /// Why a warm start ends.
  package struct End: Hashable {
    /// The share of the signal; nil if it could not be measured.
    package let share: Double?
    /// Whether the latest step was reached before the share fell.
    package let isBound: Bool

    /// The reason in words.
    package var reason: String {
      func percent(_ share: Double) -> String { "\(decimal(100 * share, digits: 1)) %" }
      let limit = percent(GradientNoise.limit)
      guard let share else { return "a quarter of the run is over, and signal and noise could not be told apart" }
      return isBound
        ? "a quarter of the run is over; the signal is still \(percent(share)) of the squared gradient, "
          + "and not yet the \(limit) at which noise hides what codes delay"
        : "the signal has fallen to \(percent(share)) of the squared gradient over the last "
          + "\(GradientNoise.window) exchanges; from \(limit) on noise hides what codes delay"
    }
  }

  private var noise = GradientNoise()
  /// The share of the signal over the last exchanges; nil while there are too few.
  var share: Double? { noise.share }

  /// Whether the gradient of a step is measured.
  static func watches(_ step: Int, of plan: RunPlan, _ parts: StrategyParts) -> Bool {
    parts.isCompressed && plan.warmStartPhases.isOpen && plan.isInWarmStart(step)
  }

  /// Records that the aggregated gradient of an agreed step has arrived.
  mutating func note(_ agreement: StepAgreement, sumSquares: Double) {
    noise.add(
      contributionSquares: agreement.sum(\.gradientSquares), sumSquares: sumSquares,
      sampleCounts: agreement.statements.map(\.sampleCount))
  }

  /// Ends the warm start after `step` if it is time to, and returns why.
  func decide(after step: Int, _ plan: inout RunPlan, _ parts: StrategyParts) -> End? {
    guard AutomaticStart.watches(step, of: plan, parts) else { return nil }
    let isBound = !plan.isInWarmStart(step + 1)
    let isReached = share.map { $0 <= GradientNoise.limit } ?? false
    guard isBound || isReached else { return nil }
    plan.endWarmStart(before: step + 1)
    return End(share: share, isBound: !isReached)
  }

  /// Adds its state to the inventory.
  func contribute(to inventory: inout StateInventory) {
    if !noise.text.isEmpty { inventory.counters["gradientNoise"] = noise.text }
  }

  /// Restores its state.
  mutating func restore(_ counters: [String: String]) { noise = GradientNoise(text: counters["gradientNoise"] ?? "") }
}
