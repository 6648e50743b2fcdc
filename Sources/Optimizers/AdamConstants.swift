internal import Buffers

/// The constants that all forms of Adam have.
public struct AdamConstants: Hashable, Sendable {
  /// β₁ and β₂, below 1.
  public var (beta1, beta2) = (0.9, 0.999)
  /// ε.
  public var epsilon: Float = 1e-8
  /// Which parameters decay.
  public var scope = DecayScope.matrices

  /// The usual constants.
  public init() {}

  /// Reads the keys of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    beta1 = try specification.number("beta1", default: beta1, in: 0...0.999999)
    beta2 = try specification.number("beta2", default: beta2, in: 0...0.999999)
    epsilon = Float(try specification.number("epsilon", default: 1e-8, in: 1e-16...1))
    scope = try DecayScope(specification, default: .matrices)
  }

  /// What a step of the usual length keeps of m and of v, and how much of x and of x² it adds.
  var weights: (meanKept: Float, meanGain: Float, squareKept: Float, squareGain: Float) {
    (Float(beta1), Float(1 - beta1), Float(beta2), Float(1 - beta2))
  }

  /// The keys of a specification but that of the decay, for `train list`.
  static let keys = [
    (name: "beta1", meaning: "what a step keeps of the mean of gradients, in place of --momentum (0.9)"),
    (name: "beta2", meaning: "what a step keeps of the mean of their squares (0.999)"),
    (name: "epsilon", meaning: "what is added to the root of that mean (1e-8)"),
  ]
}
