internal import Files

/// How well a model does on the test samples, as lines of a metrics file have it.
public struct TestResult: Hashable, Sendable {
  /// The mean loss.
  public var loss: Double
  /// The share of the targets classified correctly: of the characters, for text.
  public var accuracy: Double
  /// The share of utterances recognised, for speech data.
  public var digitAccuracy: Double?
  /// The share of samples classified as their realigned labels; nil before the first realignment.
  public var alignedAccuracy: Double?
  /// e to the mean loss, for text.
  public var perplexity: Double?
  /// The mean loss in bits for each character, for text.
  public var bitsPerCharacter: Double?

  /// A result.
  public init(
    loss: Double, accuracy: Double, digitAccuracy: Double? = nil, alignedAccuracy: Double? = nil, perplexity: Double? = nil,
    bitsPerCharacter: Double? = nil
  ) {
    (self.loss, self.accuracy, self.digitAccuracy) = (loss, accuracy, digitAccuracy)
    (self.alignedAccuracy, self.perplexity, self.bitsPerCharacter) = (alignedAccuracy, perplexity, bitsPerCharacter)
  }

  var members: [JSONValue.Member] {
    let others = [
      ("testDigitAccuracy", digitAccuracy), ("testAlignedAccuracy", alignedAccuracy), ("testPerplexity", perplexity),
      ("testBitsPerCharacter", bitsPerCharacter),
    ]
    return [.init("testLoss", .number(loss)), .init("testAccuracy", .number(accuracy))]
      + others.compactMap { name, value in value.map { .init(name, .number($0)) } }
  }
}
