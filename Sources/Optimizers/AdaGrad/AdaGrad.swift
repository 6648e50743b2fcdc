package import Buffers

/// AdaGrad: every coordinate is divided by the root of the sum of its squares so far.
///
/// For a vector x with the state a, initially 0: a ← a + x ⊙ x, s = √(a + ε), and x becomes (x ⊘ s)/m̄. The average multiplier
/// m̄ is the mean of 1/s over a whole tensor, so that a coordinate is multiplied by 1 on average and the learning rate keeps
/// its meaning.
///
/// A coordinate that never had a gradient has 1/s = 1/√ε, 10⁸ by default, and a few of them would make the steps of all others
/// vanish. The mean is therefore taken over the coordinates with a > 0, and is 1 if there are none. ``Normalization/cntk``
/// takes it over all.
/// Source: Seide et al. 2014, section 3.4; Duchi et al. 2011; algorithms §1.7.
public struct AdaGrad: Hashable, Sendable {
  /// Where in a step gradients are scaled.
  public enum Place: String, CaseIterable, Sendable {
    /// The sum over the ranks, at its owner, before it is encoded a second time: the paper's best.
    case aggregate
    /// Each rank's contribution, before it is encoded; every rank has its own scales.
    case partial
    /// The gradient after momentum smoothing, on every rank.
    case momentum
  }

  /// The coordinates over which the average multiplier is taken.
  public enum Normalization: String, CaseIterable, Sendable {
    /// Those that ever had a gradient.
    case positive
    /// All, as CNTK does.
    case cntk
  }

  /// Where gradients are scaled.
  public var place: Place
  /// ε.
  public var epsilon: Float
  /// How the average multiplier is taken.
  public var normalization: Normalization

  /// Creates a rule with the usual constants by default.
  public init(place: Place = .aggregate, epsilon: Float = 1e-16, normalization: Normalization = .positive) {
    self.place = place
    self.epsilon = epsilon
    self.normalization = normalization
  }

  /// Reads the keys of a specification.
  package init(_ specification: Specification) throws(SpecificationError) {
    place = try specification.choice("place", default: .aggregate)
    normalization = try specification.choice("normalization", default: .positive)
    epsilon = Float(try specification.number("epsilon", default: 1e-16, in: 1e-24...1))
  }

  /// The keys of a specification, for `train list`.
  static let keys = [
    (
      name: "place",
      meaning: "aggregate: the sum, at its owner (default); partial: each rank's part; momentum: the smoothed gradient"
    ),
    (name: "epsilon", meaning: "what is added to a sum of squares before its root (1e-16)"),
    (name: "normalization", meaning: "positive: mean multiplier of coordinates that had a gradient (default); cntk: of all"),
  ]
}
