public import Buffers

/// The sizes of a sketch of a vector and of what is recovered from it, checked against each other.
public struct SketchSizes: Hashable, Sendable {
  /// The number r of rows.
  public let rows: Int
  /// The number c of columns.
  public let columns: Int
  /// The number k of recovered values.
  public let k: Int

  /// Creates the sizes for a vector of `count` values; throws if they are inconsistent.
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
