/// All ranks of a sum by singular values in one process, in fp64: one matrix, by the formulas.
struct SpectralReference {
  /// The residual of each rank, and of the owner.
  private(set) var residuals: [[Double]]
  private(set) var ownerResidual: [Double]
  private let (rows, columns, rank): (Int, Int, Int)

  init(rows: Int, columns: Int, rank: Int, rankCount: Int) {
    (self.rows, self.columns, self.rank) = (rows, columns, rank)
    residuals = Array(repeating: Array(repeating: 0, count: rows * columns), count: rankCount)
    ownerResidual = Array(repeating: 0, count: rows * columns)
  }

  /// What every rank gets for the gradients of all.
  mutating func run(_ gradients: [[Float]]) -> [Double] {
    for (place, gradient) in gradients.enumerated() {
      let x = zip(gradient, residuals[place]).map { Double($0) + $1 }
      let sent = Self.largest(rank, of: x, rows: rows, columns: columns)
      residuals[place] = zip(x, sent).map { $0 - $1 }
      ownerResidual = zip(ownerResidual, sent).map { $0 + $1 }
    }
    let sum = Self.largest(rank, of: ownerResidual, rows: rows, columns: columns)
    ownerResidual = zip(ownerResidual, sum).map { $0 - $1 }
    return sum
  }

  /// The part of X with its `rank` largest singular values: X V Vᵀ with the eigenvectors V of XᵀX.
  static func largest(_ rank: Int, of x: [Double], rows: Int, columns: Int) -> [Double] {
    let vectors = eigenvectors(
      (0..<columns).map { i in
        (0..<columns).map { j in (0..<rows).reduce(0) { $0 + x[$1 * columns + i] * x[$1 * columns + j] } }
      })
    var result = [Double](repeating: 0, count: x.count)
    for vector in vectors.prefix(rank) {
      for row in 0..<rows {
        let product = (0..<columns).reduce(0) { $0 + x[row * columns + $1] * vector[$1] }
        for i in 0..<columns { result[row * columns + i] += product * vector[i] }
      }
    }
    return result
  }

  /// The eigenvectors of a symmetric matrix, those of the largest eigenvalues first: Jacobi's rotations from both sides.
  private static func eigenvectors(_ matrix: [[Double]]) -> [[Double]] {
    let n = matrix.count
    var a = matrix
    var vectors = (0..<n).map { i in (0..<n).map { $0 == i ? 1.0 : 0 } }
    for _ in 0..<30 {
      let squares = a.map { row in row.map { $0 * $0 } }
      let others = squares.indices.reduce(0) { $0 + squares[$1].reduce(0, +) - squares[$1][$1] }
      if others <= 1e-28 * squares.joined().reduce(0, +) { break }
      for p in 0..<n {
        for q in p + 1..<max(n, p + 1) where a[p][q] != 0 {
          let ratio = (a[q][q] - a[p][p]) / (2 * a[p][q])
          let t = (ratio < 0 ? -1 : 1) / (ratio.magnitude + (1 + ratio * ratio).squareRoot())
          let c = 1 / (1 + t * t).squareRoot(), s = t / (1 + t * t).squareRoot()
          for k in 0..<n { (a[k][p], a[k][q]) = (c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]) }
          for k in 0..<n { (a[p][k], a[q][k]) = (c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]) }
          for k in 0..<n {
            (vectors[p][k], vectors[q][k]) = (c * vectors[p][k] - s * vectors[q][k], s * vectors[p][k] + c * vectors[q][k])
          }
        }
      }
    }
    return (0..<n).sorted { a[$0][$0] > a[$1][$1] }.map { vectors[$0] }
  }
}
