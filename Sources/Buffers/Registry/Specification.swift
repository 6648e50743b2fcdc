/// A choice with its parameters, in text form.
///
/// It is `name`, or `name:` and comma-separated values, positional ones first, then `key=value` pairs.
///
/// For example `mlp:512,512,activation=sigmoid` or `idx:../data/mnist,classes=10`.
public struct Specification: Hashable, Sendable, CustomStringConvertible {
  /// The text before the colon.
  public let name: String
  /// The values without a key, in order.
  public let values: [String]
  /// The values with a key.
  public let options: [String: String]
  /// The text as it was written.
  public let description: String

  /// Parses a specification; throws if a key appears twice, or a positional value after a key.
  public init(_ text: String) throws(SpecificationError) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    name = String(parts[0])
    description = text
    var values: [String] = []
    var options: [String: String] = [:]
    let pieces = parts.count > 1 ? parts[1].split(separator: ",", omittingEmptySubsequences: false) : []
    for piece in pieces where !(pieces.count == 1 && piece.isEmpty) {
      let pair = piece.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if pair.count == 2 {
        guard options.updateValue(String(pair[1]), forKey: String(pair[0])) == nil else {
          throw SpecificationError("'\(text)' names '\(pair[0])' twice")
        }
      } else {
        guard options.isEmpty else {
          throw SpecificationError("'\(text)' has the value '\(piece)' after a key; values come first")
        }
        values.append(String(piece))
      }
    }
    self.values = values
    self.options = options
  }

  /// The whole number of key `key`, or `standard` if the key is absent.
  public func integer(_ key: String, default standard: Int, in range: ClosedRange<Int>) throws(SpecificationError) -> Int {
    guard let text = options[key] else { return standard }
    guard let value = Int(text), range.contains(value) else {
      throw SpecificationError(
        "'\(description)': \(key) is a whole number of \(range.lowerBound) to \(range.upperBound), not '\(text)'")
    }
    return value
  }

  /// The finite number of key `key`, or `standard` if the key is absent.
  public func number(_ key: String, default standard: Double, in range: ClosedRange<Double>) throws(SpecificationError)
    -> Double
  {
    guard let text = options[key] else { return standard }
    guard let value = Double(text), range.contains(value) else {
      throw SpecificationError(
        "'\(description)': \(key) is a number of \(range.lowerBound) to \(range.upperBound), not '\(text)'")
    }
    return value
  }
}

/// What is wrong with a specification, in one sentence without a full stop.
public struct SpecificationError: Error, CustomStringConvertible {
  public let description: String
  /// An error with this description.
  public init(_ description: String) { self.description = description }
}
