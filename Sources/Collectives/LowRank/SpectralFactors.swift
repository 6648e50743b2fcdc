/// The singular values of a block that are sent, and the factors P and Q by which they are: X becomes P Qᵀ.
package enum SpectralFactors {
  /// The probability of each of `values` (descending) with which it is sent, so that `rank` are sent on average: min(1, σ/m), with the
  /// one m that makes it so, which makes the error least; 1 for all if no more are above 0.
  ///
  /// - Source: Wang et al. 2018, "ATOMO"; algorithms §4.6.
  package static func probabilities(_ values: [Double], rank: Int) -> [Double] {
    guard values.count(where: { $0 > 0 }) > rank else { return values.map { $0 > 0 ? 1 : 0 } }
    var (sum, certain) = (values.reduce(0, +), 0)
    // The largest are sent for certain, and leave less room for the others.
    while certain < rank, values[certain] * Double(rank - certain) >= sum {
      sum -= values[certain]
      certain += 1
    }
    guard certain < rank else { return values.indices.map { $0 < rank ? 1 : 0 } }
    let m = values[certain...].reduce(0, +) / Double(rank - certain)
    return values.indices.map { $0 < certain ? 1 : values[$0] / m }
  }

  /// Draws indices with these probabilities, whose sum is a whole number: that many, by a single `random` number in [0, 1).
  ///
  /// The sum of the probabilities up to an index passes a number of the form i + random at those that are drawn (systematic sampling).
  package static func draw(_ probabilities: [Double], by random: Double) -> [Int] {
    // Away from whole numbers, so that the rounding of the sum does not matter.
    let start = random + 0x1p-25
    var passed = 0.0
    return probabilities.indices.filter { index in
      let before = (passed + start).rounded(.down)
      passed += probabilities[index]
      return (passed + start).rounded(.down) > before
    }
  }

  /// Writes P and Q of block X, column after column: those of the largest singular values.
  ///
  /// If there is a random number, it draws the values instead, which are divided by their probabilities. Columns without a value are zeros.
  /// One factor has singular vectors, and the other the products of X with them, so that P Qᵀ is a projection of X up to rounding.
  static func write(
    of x: UnsafePointer<Float>, _ block: LowRankSettings.Matrix, drawnBy random: Double?,
    into factors: UnsafeMutablePointer<Float>
  ) {
    let found = SingularValues(x, rows: block.rows, columns: block.columns)
    let probabilities = random.map { _ in Self.probabilities(found.values, rank: block.rank) }
    let chosen = probabilities.map { draw($0, by: random ?? 0) } ?? Array(0..<block.rank)
    factors.update(repeating: 0, count: block.rank * (block.rows + block.columns))
    for (column, index) in chosen.prefix(block.rank).enumerated() where found.values[index] > 0 {
      let p = factors + block.left + column * block.rows, q = factors + block.right + column * block.columns
      let gain = 1 / (probabilities?[index] ?? 1)
      if block.rows <= block.columns {
        for i in 0..<block.columns { q[i] = Float(found.entry(i, of: index)) }
        for row in 0..<block.rows {
          var product = 0.0
          for i in 0..<block.columns { product += Double(x[row * block.columns + i]) * Double(q[i]) }
          p[row] = Float(gain * product)
        }
      } else {
        for i in 0..<block.rows { p[i] = Float(found.entry(i, of: index)) }
        var products = [Double](repeating: 0, count: block.columns)
        for row in 0..<block.rows {
          for i in 0..<block.columns { products[i] += Double(p[row]) * Double(x[row * block.columns + i]) }
        }
        for i in 0..<block.columns { q[i] = Float(gain * products[i]) }
      }
    }
  }
}
