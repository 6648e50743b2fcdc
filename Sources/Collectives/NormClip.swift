/// Gradient clipping by norm: a sum that is longer than the limit is scaled down to it.
///
/// Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", algorithm 1.
public struct NormClip: Hashable, Sendable {
  /// The largest norm that a sum may have.
  public let limit: Double

  /// Clips to norms up to `limit`.
  public init(limit: Double) { self.limit = limit }

  /// What a sum with this norm is multiplied by; nil if it is short enough.
  ///
  /// - Parameters:
  ///   - norm: The norm of the sum.
  ///   - share: The part of a step that the sum stands for; a part of a step may have that part of the limit.
  public func factor(norm: Double, share: Double = 1) -> Double? { norm > limit * share ? limit * share / norm : nil }
}
