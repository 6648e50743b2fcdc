public import Buffers

/// Makes the data set of a specification.
public struct DatasetRecipe: Sendable {
  /// Reads or generates the data.
  private let make: @Sendable (_ seed: UInt64, _ context: Int?) throws -> any Dataset
  /// The specification of a text; nil for data that have no windows of tokens.
  private let text: Specification?
  /// The tokens of a window; nil for the usual number.
  private var context: Int?

  /// Whether samples are windows of a text, which have no class.
  public var isText: Bool { text != nil }

  /// Data without windows of tokens.
  init(_ make: @escaping @Sendable (_ seed: UInt64) throws -> any Dataset) {
    (text, self.make) = (nil, { seed, _ in try make(seed) })
  }

  /// A text in windows of `context` tokens; nil if the specification does not say how many.
  init(
    text: Specification, context: Int?, _ make: @escaping @Sendable (_ seed: UInt64, _ context: Int?) throws -> any Dataset
  ) {
    (self.text, self.context, self.make) = (text, context, make)
  }

  /// The data set, with all randomness drawn from `seed`; throws `DataError` if files are at fault.
  public func callAsFunction(_ seed: UInt64) throws -> any Dataset { try make(seed, context) }

  /// The recipe for the same data with their last `count` training samples in the place of the test samples; nil for none.
  func holdingOut(_ count: Int?) -> DatasetRecipe {
    guard let count else { return self }
    return DatasetRecipe { seed in try HeldOutDataset(self(seed), count: count) }
  }

  /// The recipe for a model that reads `context` tokens, the length of the windows of a text whose specification does not give one.
  ///
  /// Data that are no text, and models that do not say what they read (nil), change nothing. Throws `SpecificationError` if text and
  /// model say different numbers.
  public func forModel(reading context: Int?) throws(SpecificationError) -> DatasetRecipe {
    guard let text, let context else { return self }
    if let own = self.context, own != context {
      throw SpecificationError(
        "'\(text)' has a context of \(own) tokens, and the model one of \(context); give one of them, or both the same")
    }
    var recipe = self
    recipe.context = context
    return recipe
  }
}
