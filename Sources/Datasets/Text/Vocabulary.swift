/// The characters of a text: the token of each is its place among them.
///
/// A character is a Unicode scalar: a letter and an accent that combines with it are two.
public struct Vocabulary: Hashable, Sendable {
  /// The distinct characters, in the order of their code points.
  public let characters: [Unicode.Scalar]

  /// The vocabulary of these distinct characters, in any order.
  public init(_ characters: some Sequence<Unicode.Scalar>) { self.characters = Set(characters).sorted() }

  /// The number of characters.
  public var count: Int { characters.count }

  /// The token of a character; nil if it is not in the vocabulary.
  public func token(of character: Unicode.Scalar) -> Int? {
    var range = 0..<characters.count
    while range.count > 1 {
      let middle = (range.lowerBound + range.upperBound) / 2
      range = characters[middle] <= character ? middle..<range.upperBound : range.lowerBound..<middle
    }
    return range.first.flatMap { characters[$0] == character ? $0 : nil }
  }

  /// The tokens of a text; throws `DataError` that names the first character that is not in the vocabulary.
  public func encode(_ text: String) throws(DataError) -> [Int] {
    var tokens: [Int] = []
    for character in text.unicodeScalars {
      guard let token = token(of: character) else {
        throw DataError("\(describe(character)) is not among the \(count) characters that the model knows; leave it out")
      }
      tokens.append(token)
    }
    return tokens
  }

  /// The text of tokens, each 0 … `count` − 1.
  public func decode(_ tokens: some Sequence<Int>) -> String {
    var text = String.UnicodeScalarView()
    for token in tokens { text.append(characters[token]) }
    return String(text)
  }
}

/// A character in readable form: `'é' (U+00E9)`, and its code point alone if it cannot be seen.
func describe(_ character: Unicode.Scalar) -> String {
  let digits = String(character.value, radix: 16, uppercase: true)
  let point = "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  switch character.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator, .spaceSeparator, .unassigned, .privateUse, .nonspacingMark:
    return "the character \(point)"
  default: return "'\(character)' (\(point))"
  }
}
