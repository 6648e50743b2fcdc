/// What happens to a step whose gradient is not finite on some rank.
///
/// Source: algorithms A5.
public enum NonFinitePolicy: String, CaseIterable, Codable, Sendable {
  /// No rank changes its model, momentum or residual; after ten such steps in a row the run ends.
  case skip
  /// The run ends.
  case abort
  /// Non-finite values become zero, and the step proceeds.
  case zero
}
