/// A number of things, or a share of them: `50000`, `0.05` or `1/20`.
public struct Amount: Hashable, Sendable, CustomStringConvertible {
  private enum Kind: Hashable {
    case number(Int)
    case fraction(Int, Int)
    case ratio(Double)
  }

  private let kind: Kind
  public let description: String

  /// Reads a number of at least 1, a decimal number between 0 and 1, or a fraction up to 1; nil for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    if let number = Int(text), number > 0 {
      kind = .number(number)
    } else if parts.count == 2, let over = Int(parts[0]), let under = Int(parts[1]), over > 0, over <= under {
      kind = .fraction(over, under)
    } else if let ratio = Double(text), ratio > 0, ratio < 1 {
      kind = .ratio(ratio)
    } else {
      return nil
    }
    description = text
  }

  /// So many things.
  public init(_ number: Int) {
    precondition(number > 0, "an amount is at least 1")
    (kind, description) = (.number(number), "\(number)")
  }

  /// How many of `total` it is; a share is rounded up, and is at least 1.
  public func count(of total: Int) -> Int {
    switch kind {
    case .number(let number): number
    case .fraction(let over, let under):
      max(1, Int((Double(total) * Double(over) / Double(under)).rounded(.up)))
    case .ratio(let ratio): max(1, Int((Double(total) * ratio).rounded(.up)))
    }
  }
}

/// The sizes of a sketch of a vector and of what is recovered from it, checked against each other.
public struct SketchSizes: Hashable, Sendable {
  /// The rows r.
  public let rows: Int
  /// The columns c.
  public let columns: Int
  /// The number k of values that are recovered.
  public let k: Int

  /// Sizes for a vector of `count` values; what cannot be is refused in one sentence.
  public init(rows: Int, columns: Amount, k: Amount, of count: Int) throws(SketchError) {
    (self.rows, self.columns, self.k) = (rows, columns.count(of: count), k.count(of: count))
    try SketchHashes.check(rows: rows, columns: self.columns)
    guard self.columns <= count else {
      throw SketchError(
        "a sketch of \(count) values has at most \(count) columns, not \(self.columns): it would be larger than the values")
    }
    guard self.k <= count else { throw SketchError("of \(count) values at most \(count) are recovered, not k = \(self.k)") }
  }
}
