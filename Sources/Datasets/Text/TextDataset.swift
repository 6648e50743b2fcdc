public import Buffers

/// Windows of a UTF-8 text, for models that predict the next character at each position.
///
/// Tokens are Unicode scalars, two bytes each in memory (``Vocabulary``). Window i of a split covers the characters from
/// i · context on; its targets are the characters after each of its own. A varied window begins up to context − 1 characters
/// later, each equally likely, but not so late that it leaves its split.
public final class TextDataset: Dataset {
  public let specification: String
  public let kind = SampleForm.Kind.tokens
  /// The number of characters of a window.
  public let featureCount: Int
  /// The number of distinct characters of the text.
  public var classCount: Int { vocabulary.count }
  public let fingerprint: UInt64
  /// The distinct characters of the whole text.
  public let vocabulary: Vocabulary

  private let tokens: [UInt16]
  /// The characters of each split.
  private let ranges: [Range<Int>]

  /// The characters of a window if none are asked for.
  public static let usualContext = 128

  /// Reads a file, which may be compressed if its name ends in `.gz`.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - context: the number of characters of a window.
  ///   - test: the characters at the end that are the test split.
  ///   - specification: the specification as it was written.
  public init(
    path: String, context: Int = usualContext, test: Amount = Amount("0.1")!, specification: String
  ) throws(DataError) {
    require(context > 0, "a window has characters")
    let content = try readDecompressed(path)
    let vocabulary = try Vocabulary(ofText: content, path: path)
    let tokens = try vocabulary.tokens(ofText: content, path: path)
    let testCount = test.count(of: tokens.count)
    guard testCount < tokens.count else {
      throw DataError(
        "'\(path)' has \(tokens.count) characters, and test=\(test) leaves none of them to train on; ask for less")
    }
    let ranges = [0..<tokens.count - testCount, tokens.count - testCount..<tokens.count]
    for (range, name) in zip(ranges, ["training", "test"]) where range.count <= context {
      throw DataError(
        "'\(path)': the \(name) split has \(range.count) characters, and windows of \(context) need \(context + 1); "
          + "ask for a smaller context=N, or give a longer text")
    }
    (self.tokens, self.ranges, self.vocabulary, self.specification) = (tokens, ranges, vocabulary, specification)
    featureCount = context
    fingerprint = combinedHash([hash(content), UInt64(context), UInt64(testCount)])
  }

  public func count(_ split: Split) -> Int { (ranges[split.rawValue].count - 1) / featureCount }

  /// The first target of a window.
  public func label(_ index: Int, of split: Split) -> Int {
    Int(tokens[ranges[split.rawValue].lowerBound + index * featureCount + 1])
  }

  public func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    let range = ranges[split.rawValue]
    var start = range.lowerBound + index * featureCount
    if let variation, split == .train {
      start = min(start + variation.integer(0, below: featureCount), range.upperBound - featureCount - 1)
    }
    tokens.withUnsafeBufferPointer { tokens in
      for place in 0..<featureCount {
        inputs[place] = Float(tokens[start + place])
        labels[place] = Int32(tokens[start + place + 1])
      }
    }
  }
}

extension Vocabulary {
  /// The largest number of characters whose tokens have two bytes.
  private static let limit = 1 << 16
  /// All code points of Unicode.
  private static let codePointCount = 0x11_0000

  /// The characters of a UTF-8 text.
  fileprivate init(ofText content: [UInt8], path: String) throws(DataError) {
    guard !content.isEmpty else { throw DataError("'\(path)' is empty; give a file of text") }
    var isPresent = [Bool](repeating: false, count: Self.codePointCount)
    try forEachScalar(of: content, path: path) { isPresent[Int($0.value)] = true }
    self.init(isPresent.indices.lazy.filter { isPresent[$0] }.compactMap { Unicode.Scalar(UInt32($0)) })
    guard count > 1 else {
      throw DataError("'\(path)' repeats one character, \(describe(characters[0])), so there is nothing to learn from")
    }
    guard count <= Self.limit else {
      throw DataError("'\(path)' has \(count) distinct characters, more than \(Self.limit); is it a text?")
    }
  }

  /// The token of each character of a UTF-8 text, all of which are in the vocabulary.
  fileprivate func tokens(ofText content: [UInt8], path: String) throws(DataError) -> [UInt16] {
    var table = [UInt16](repeating: 0, count: Self.codePointCount)
    for (token, character) in characters.enumerated() { table[Int(character.value)] = UInt16(token) }
    // Bytes that begin a character are those that do not continue one.
    let count = content.count { $0 & 0xC0 != 0x80 }
    try DataError.requireMemory(count * MemoryLayout<UInt16>.size, of: path)
    var tokens: [UInt16] = []
    tokens.reserveCapacity(count)
    try forEachScalar(of: content, path: path) { tokens.append(table[Int($0.value)]) }
    return tokens
  }
}

/// Calls `body` with the characters of a UTF-8 text; throws `DataError` that says at which byte it is none.
private func forEachScalar(of content: [UInt8], path: String, _ body: (Unicode.Scalar) -> Void) throws(DataError) {
  var parser = Unicode.UTF8.ForwardParser()
  var bytes = content.makeIterator()
  var offset = 0
  while true {
    switch parser.parseScalar(from: &bytes) {
    case .valid(let character):
      body(Unicode.UTF8.decode(character))
      offset += character.count
    case .emptyInput: return
    case .error:
      throw DataError("'\(path)' is not UTF-8: the byte at offset \(offset) begins no character; convert the text to UTF-8")
    }
  }
}
