/// Gradient clipping by norm: a sum whose norm exceeds the limit is scaled down to it.
///
/// Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", algorithm 1.
public struct NormClip: Hashable, Sendable {
  /// The largest norm of a sum.
  public let limit: Double

  /// Creates a clip to norms up to `limit`.
  public init(limit: Double) { self.limit = limit }

  /// The factor for a sum of this norm; nil if it is within the limit.
  ///
  /// - Parameters:
  ///   - norm: The norm of the sum.
  ///   - share: The part of a step that the sum stands for; it has the same part of the limit.
  public func factor(norm: Double, share: Double = 1) -> Double? { norm > limit * share ? limit * share / norm : nil }
}
