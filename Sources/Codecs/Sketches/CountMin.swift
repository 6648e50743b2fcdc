internal import Buffers

/// A Count-Min sketch: how often each index has occurred, never underestimated.
///
/// It keeps r × c counts without signs; its estimate is the smallest of an index's cells:
///
///     x ≤ x̂ ≤ x + ‖x‖₁·e/c   with probability 1 − e^(−r)
///
/// It is for statistics such as how often each coordinate is sent, not for gradients, whose values have signs.
///
/// Source: Cormode, Muthukrishnan 2005, "An improved data stream summary: the count-min sketch and its applications".
public struct CountMin: Hashable, Sendable {
  /// The cells of the indices; the signs are not used.
  public let hashes: SketchHashes
  /// The counts, row by row.
  public private(set) var table: [UInt64]

  /// Creates an empty sketch.
  public init(_ hashes: SketchHashes) {
    self.hashes = hashes
    table = Array(repeating: 0, count: hashes.rows * hashes.columns)
  }

  /// Counts `index` `times` times.
  public mutating func add(_ index: Int, times: UInt64 = 1) {
    for j in 0..<hashes.rows { table[place(index, j)] += times }
  }

  /// Adds the counts of a sketch with the same hash functions.
  public mutating func add(_ other: CountMin) {
    require(hashes == other.hashes, "sketches with different hash functions do not add")
    for i in table.indices { table[i] += other.table[i] }
  }

  /// An upper estimate of how often `index` has occurred.
  public func estimate(of index: Int) -> UInt64 {
    (0..<hashes.rows).reduce(.max) { least, j in min(least, table[place(index, j)]) }
  }

  private func place(_ index: Int, _ row: Int) -> Int { row * hashes.columns + hashes.cell(index, row: row) }
}
