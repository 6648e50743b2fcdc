/// The form of the samples of a data set: what a network reads, and what it predicts.
public struct SampleForm: Hashable, Sendable {
  /// What the inputs are.
  public enum Kind: Hashable, Sendable {
    /// Values without a place.
    case values
    /// An image of this shape.
    case image(SampleShape)
    /// Tokens in a row, each a number below the number of classes; the class to predict at each position is the token after it.
    case tokens
  }

  /// The number of values of a sample.
  public let inputCount: Int
  /// The number of classes.
  public let classCount: Int
  /// What the inputs are.
  public let kind: Kind

  /// Samples of `inputCount` values of this kind, and `classCount` classes.
  public init(inputCount: Int, classCount: Int, kind: Kind = .values) {
    if case .image(let shape) = kind {
      require(shape.count == inputCount, "an image of \(shape) for samples of \(inputCount) values")
    }
    (self.inputCount, self.classCount, self.kind) = (inputCount, classCount, kind)
  }

  /// The number of classes to predict for a sample.
  public var targetCount: Int { kind == .tokens ? inputCount : 1 }
}
