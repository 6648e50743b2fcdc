internal import Buffers
internal import Checkpoints
internal import Files
internal import Kernels
internal import MPI
internal import Networks
internal import Transport

/// What `--non-finite` has to remember of the steps so far, and what it says: the same whether all ranks skip a step (`NonFiniteGuard`)
/// or some leave out what they would have contributed (`RefusedGradients`).
///
/// Source: algorithms A5.
struct NonFinitePolicyState {
  /// The number of steps in a row that changed nothing with which the run ends.
  private static let limit = 10

  private let parts: StrategyParts
  /// The number of steps in a row, up to the last judged, that changed nothing.
  var stepsInARow = 0
  /// Whether values were set to zero in the last steps that counted.
  private var isClearing = false

  /// Begins with the policy of the run.
  init(_ parts: StrategyParts) { self.parts = parts }

  /// A tensor and, if there are several, the rank: `layers.3.weight on rank 1 on node2`.
  func name(_ found: (rank: Int, tensor: Int)) -> String {
    let all = parts.grid.all
    return parts.network.layout.tensors[found.tensor].name + (all.world.count > 1 ? " on \(all.name(of: found.rank))" : "")
  }

  /// The warning of values that were set to zero in steps that counted: once for each run of such steps.
  mutating func warning(ofCleared count: Int, in steps: String) -> String? {
    defer { isClearing = count > 0 }
    guard count > 0 && !isClearing else { return nil }
    return "\(steps): \(counted(count, "value")) of the gradients not finite, set to zero"
  }

  /// Why the run ends with the last steps, the same on all ranks; nil if it goes on.
  ///
  /// - Parameters:
  ///   - sentence: What was not finite, and where.
  ///   - row: What happened to several steps in a row.
  ///   - hint: The likely cause; nil if only the parameters show it.
  func end(_ sentence: String, row: String, hint: String? = nil) -> TrainingError? {
    guard parts.options.nonFinite == .abort || stepsInARow >= NonFinitePolicyState.limit else { return nil }
    return TrainingError(
      sentence + (stepsInARow > 1 ? ", and \(row)" : "") + "; \(hint ?? advice)", exitStatus: .configuration)
  }

  /// The remedy, by whether the model is lost.
  private var advice: String {
    parts.parameters.isFinite(in: 0..<parts.parameters.count)
      ? "lower --learning-rate, or look for values in the data that are not finite"
      : "the parameters themselves are not finite any more; lower --learning-rate and start again from the last checkpoint"
  }
}
