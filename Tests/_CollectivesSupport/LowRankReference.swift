import Buffers

/// All ranks of a low-rank sum in one process, in fp64: one matrix, by the formulas.
struct LowRankReference {
  /// The residual of each rank.
  private(set) var residuals: [[Double]]
  /// Q, column by column.
  private var right: [[Double]]
  private let (rows, columns): (Int, Int)

  init(rows: Int, columns: Int, right: [[Double]], rankCount: Int) {
    (self.rows, self.columns, self.right) = (rows, columns, right)
    residuals = Array(repeating: Array(repeating: 0, count: rows * columns), count: rankCount)
  }

  /// The random signs with which column `column` begins after `exchanges` exchanges.
  static func signs(_ column: Int, count: Int, seed: UInt64 = 1, tensor: Int = 0, exchanges: Int = 0) -> [Double] {
    let philox = Philox(seed: seed, purpose: .lowRank, step: exchanges)
    return (0..<count).map { philox.word(column * count + $0, tensor: tensor) & 1 == 0 ? 1 : -1 }
  }

  static func orthonormal(_ columns: [[Double]]) -> [[Double]] {
    columns.reduce(into: []) { done, column in
      var x = column
      func norm() -> Double { x.reduce(0) { $0 + $1 * $1 }.squareRoot() }
      let before = norm()
      for other in done {
        let share = zip(other, x).reduce(0) { $0 + $1.0 * $1.1 }
        x = zip(x, other).map { $0 - share * $1 }
      }
      let after = norm()
      done.append(after > 0x1p-20 * before ? x.map { $0 / after } : x.map { _ in 0 })
    }
  }

  private func times(_ x: [Double], _ q: [Double]) -> [Double] {
    (0..<rows).map { row in (0..<columns).reduce(0) { $0 + x[row * columns + $1] * q[$1] } }
  }

  private func transposed(_ x: [Double], _ p: [Double]) -> [Double] {
    (0..<columns).map { column in (0..<rows).reduce(0) { $0 + x[$1 * columns + column] * p[$1] } }
  }

  private func product(_ left: [[Double]], _ right: [[Double]]) -> [Double] {
    (0..<rows * columns).map { place in
      zip(left, right).reduce(0) { $0 + $1.0[place / columns] * $1.1[place % columns] }
    }
  }

  private func sum(_ terms: [[Double]]) -> [Double] { terms.dropFirst().reduce(terms[0]) { zip($0, $1).map { $0 + $1 } } }

  /// What every rank gets for the gradients of all.
  mutating func run(_ gradients: [[Float]]) -> [Double] {
    let x = zip(gradients, residuals).map { zip($0, $1).map { Double($0) + $1 } }
    let left = Self.orthonormal(right.map { q in sum(x.map { times($0, q) }) })
    let own = x.map { x in left.map { transposed(x, $0) } }
    right = left.indices.map { column in sum(own.map { $0[column] }) }
    residuals = zip(x, own).map { x, own in zip(x, product(left, own)).map { $0 - $1 } }
    return product(left, right)
  }
}
