/// An absolute number, or a share of a total: `50000`, `0.05` or `1/20`.
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

  /// An absolute number, at least 1.
  public init(_ number: Int) {
    require(number > 0, "an amount is at least 1")
    (kind, description) = (.number(number), "\(number)")
  }

  /// The number it amounts to out of `total`; a share is rounded up, and is at least 1.
  public func count(of total: Int) -> Int {
    switch kind {
    case .number(let number): number
    case .fraction(let over, let under):
      max(1, Int((Double(total) * Double(over) / Double(under)).rounded(.up)))
    case .ratio(let ratio): max(1, Int((Double(total) * ratio).rounded(.up)))
    }
  }

  /// The number for `part` values out of `total`, in proportion: rounded up, and at least 1.
  package func share(of part: Int, in total: Int) -> Int { max(1, (count(of: total) * part + total - 1) / total) }
}
