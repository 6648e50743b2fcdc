import Buffers

/// All ranks of a sum by principal components in one process, in fp64: one tensor, by the formulas, with eigenvectors by rotations of the
/// symmetric matrix from both sides.
struct PCAReference {
  /// The residual of each rank.
  private(set) var residuals: [[Double]]
  /// U, column by column.
  private(set) var basis: [[Double]]
  private var covariance: [[Double]]
  private var exchanges = 0
  private let (length, refresh, count): (Int, Int, Int)

  /// That of `count` values, a whole number of rows of `length`, on so many ranks.
  init(count: Int, length: Int, components: Int, refresh: Int, rankCount: Int, seed: UInt64 = 1) {
    (self.length, self.refresh, self.count) = (length, refresh, count)
    residuals = Array(repeating: Array(repeating: 0, count: count), count: rankCount)
    covariance = Array(repeating: Array(repeating: 0, count: length), count: length)
    let philox = Philox(seed: seed, purpose: .lowRank, step: 0)
    basis = LowRankReference.orthonormal(
      (0..<components).map { column in (0..<length).map { philox.word(column * length + $0) & 1 == 0 ? 1 : -1 } })
  }

  /// The rows that cross whole in the next exchange.
  var sampled: Range<Int> {
    let rows = count / length
    let first = exchanges % refresh * rows / refresh
    return first..<first + (rows + refresh - 1) / refresh
  }

  /// The eigenvectors of a symmetric matrix, those of larger eigenvalues first, with the eigenvalues.
  static func eigenvectors(_ matrix: [[Double]]) -> [(value: Double, vector: [Double])] {
    var (a, n) = (matrix, matrix.count)
    var vectors = (0..<n).map { i in (0..<n).map { $0 == i ? 1.0 : 0 } }
    for _ in 0..<60 {
      for p in 0..<n {
        for q in p + 1..<max(n, p + 1) where a[p][q].magnitude > 1e-18 * (a[p][p].magnitude + a[q][q].magnitude) {
          let theta = (a[q][q] - a[p][p]) / (2 * a[p][q])
          let t = (theta < 0 ? -1 : 1) / (theta.magnitude + (theta * theta + 1).squareRoot())
          let c = 1 / (t * t + 1).squareRoot()
          let s = t * c
          for k in 0..<n { (a[k][p], a[k][q]) = (c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]) }
          for k in 0..<n { (a[p][k], a[q][k]) = (c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]) }
          for k in 0..<n {
            (vectors[k][p], vectors[k][q]) = (c * vectors[k][p] - s * vectors[k][q], s * vectors[k][p] + c * vectors[k][q])
          }
        }
      }
    }
    return (0..<n).map { i in (a[i][i], vectors.map { $0[i] }) }.sorted { $0.value > $1.value }
  }

  private func row(_ x: [Double], _ row: Int) -> ArraySlice<Double> { x[row * length..<(row + 1) * length] }

  /// What a rank's values become: their products with U, except in rows that cross whole.
  private func projected(_ x: [Double]) -> [Double] {
    (0..<count / length).flatMap { index -> [Double] in
      let own = Array(row(x, index))
      if sampled.contains(index) { return own }
      return basis.reduce(into: Array(repeating: 0, count: length)) { sum, column in
        let share = zip(own, column).reduce(0) { $0 + $1.0 * $1.1 }
        for i in sum.indices { sum[i] += share * column[i] }
      }
    }
  }

  /// What every rank gets for the gradients of all.
  mutating func run(_ gradients: [[Float]]) -> [Double] {
    let x = zip(gradients, residuals).map { zip($0, $1).map { Double($0) + $1 } }
    let sent = x.map(projected)
    residuals = zip(x, sent).map { zip($0, $1).map { $0 - $1 } }
    let sum = sent.dropFirst().reduce(sent[0]) { zip($0, $1).map { $0 + $1 } }
    for index in sampled {
      let own = Array(row(sum, index))
      for i in 0..<length { for j in 0..<length { covariance[i][j] += own[i] * own[j] } }
    }
    exchanges += 1
    let isWhole = exchanges % refresh == 0
    if isWhole || (exchanges < refresh && [1, 2, 4, 8, 16, 32].contains(exchanges)) {
      let found = Self.eigenvectors(covariance).prefix(basis.count)
      // Smaller ones are the rounding of sums in fp32.
      let least = 0x1p-18 * (found.first?.value ?? 0)
      basis = LowRankReference.orthonormal(
        zip(found, basis).map { $0.value > least ? $0.vector : $1 })
    }
    if isWhole { covariance = covariance.map { $0.map { _ in 0 } } }
    return sum
  }
}
