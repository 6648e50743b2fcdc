internal import Buffers

/// A Count-Min sketch: how often each index has come, never too low.
///
/// It keeps r × c counts without signs, and its estimate is the least of an index's cells:
///
///     x ≤ x̂ ≤ x + ‖x‖₁·e/c   with probability 1 − e^(−r)
///
/// It serves statistics such as which coordinates are sent how often. It is no use for gradients, whose values have signs.
///
/// Source: Cormode, Muthukrishnan 2005, "An improved data stream summary: the count-min sketch and its applications".
public struct CountMin: Hashable, Sendable {
  /// Where indices go; their signs are not used.
  public let hashes: SketchHashes
  /// The counts, row by row.
  public private(set) var table: [UInt64]

  /// A sketch that has counted nothing.
  public init(_ hashes: SketchHashes) {
    self.hashes = hashes
    table = Array(repeating: 0, count: hashes.rows * hashes.columns)
  }

  /// Counts `index`, once or `times` times.
  public mutating func add(_ index: Int, times: UInt64 = 1) {
    for j in 0..<hashes.rows { table[place(index, j)] += times }
  }

  /// Adds the counts of a sketch with the same hash functions.
  public mutating func add(_ other: CountMin) {
    require(hashes == other.hashes, "sketches with different hash functions do not add")
    for i in table.indices { table[i] += other.table[i] }
  }

  /// How often `index` has come: this or less.
  public func estimate(of index: Int) -> UInt64 {
    (0..<hashes.rows).reduce(.max) { least, j in min(least, table[place(index, j)]) }
  }

  private func place(_ index: Int, _ row: Int) -> Int { row * hashes.columns + hashes.cell(index, row: row) }
}
