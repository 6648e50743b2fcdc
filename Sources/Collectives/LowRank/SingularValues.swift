/// The singular values of a small matrix X, and its singular vectors on the longer side, by one-sided Jacobi rotations in fp64.
///
/// X has as many vectors as its smaller side is long: its rows, or its columns if there are fewer of these. Pairs of them are rotated
/// until all are orthogonal to one another: then their lengths are σ, and their directions the singular vectors. No library takes
/// part, so that every processor finds the same bits. Values of less than 2⁻⁴⁴ of the largest are rounding, and count as 0.
///
/// - Source: Hestenes 1958; Golub and Van Loan, "Matrix Computations", one-sided Jacobi; algorithms §6.2.
/// - Cost: about 4 s² l operations per sweep for sides s ≤ l, in some 6 to 10 sweeps.
package struct SingularValues {
  /// Eight entries of a vector.
  private typealias Lanes = SIMD8<Double>

  /// σ, descending.
  package let values: [Double]
  /// The length of a vector: the longer side of X.
  package let length: Int
  /// The vectors after the rotations, in blocks of eight entries, those beyond the length zero.
  private let lanes: [Lanes]
  /// The vector of each value in them.
  private let order: [Int]

  /// Pairs whose cosine is no larger count as orthogonal.
  private static let tolerance = 0x1p-40
  /// Sweeps converge quadratically; this many are never needed.
  private static let mostSweeps = 40

  /// Factors X of `rows` rows of `columns` finite values.
  package init(_ x: UnsafePointer<Float>, rows: Int, columns: Int) {
    let (side, length) = (min(rows, columns), max(rows, columns))
    let blocks = (length + 7) / 8
    var lanes = [Lanes](repeating: .zero, count: side * blocks)
    lanes.withUnsafeMutableBytes { bytes in
      let entries = bytes.bindMemory(to: Double.self)
      for vector in 0..<side {
        for i in 0..<length {
          entries[vector * 8 * blocks + i] = Double(rows <= columns ? x[vector * columns + i] : x[i * columns + vector])
        }
      }
    }
    lanes.withUnsafeMutableBufferPointer { lanes in
      guard let base = lanes.baseAddress else { return }
      var sweeps = 0
      while SingularValues.sweep(base, side: side, blocks: blocks), sweeps < SingularValues.mostSweeps { sweeps += 1 }
    }
    let norms = lanes.withUnsafeBufferPointer { lanes in
      (0..<side).map { vector in
        lanes.baseAddress.map { SingularValues.product($0 + vector * blocks, $0 + vector * blocks, blocks).squareRoot() } ?? 0
      }
    }
    order = norms.indices.sorted { (norms[$0], $1) > (norms[$1], $0) }
    let least = 0x1p-44 * (norms.max() ?? 0)
    values = order.map { norms[$0] > least ? norms[$0] : 0 }
    (self.length, self.lanes) = (length, lanes)
  }

  /// Entry `i` of the singular vector that belongs to value `index`; 0 if the value is 0.
  package func entry(_ i: Int, of index: Int) -> Double {
    let value = values[index]
    return value > 0 ? lanes[order[index] * ((length + 7) / 8) + i / 8][i % 8] / value : 0
  }

  /// Rotates each pair of vectors so that it becomes orthogonal; whether there was one that was not.
  private static func sweep(_ lanes: UnsafeMutablePointer<Lanes>, side: Int, blocks: Int) -> Bool {
    var squares = (0..<side).map { product(lanes + $0 * blocks, lanes + $0 * blocks, blocks) }
    let least = 0x1p-90 * (squares.max() ?? 0)
    var hasRotated = false
    for i in 0..<side {
      for j in i + 1..<max(side, i + 1) {
        let (a, b) = (lanes + i * blocks, lanes + j * blocks)
        let cross = product(a, b, blocks)
        guard min(squares[i], squares[j]) > least, cross.magnitude > tolerance * (squares[i] * squares[j]).squareRoot() else {
          continue
        }
        let ratio = (squares[j] - squares[i]) / (2 * cross)
        let tangent = (ratio < 0 ? -1 : 1) / (ratio.magnitude + (1 + ratio * ratio).squareRoot())
        let cosine = 1 / (1 + tangent * tangent).squareRoot()
        let sine = cosine * tangent
        for k in 0..<blocks {
          let (x, y) = (a[k], b[k])
          a[k] = cosine * x - sine * y
          b[k] = sine * x + cosine * y
        }
        squares[i] -= tangent * cross
        squares[j] += tangent * cross
        hasRotated = true
      }
    }
    return hasRotated
  }

  /// The inner product of two vectors: over eight lanes, which are then added by halves.
  private static func product(_ a: UnsafePointer<Lanes>, _ b: UnsafePointer<Lanes>, _ blocks: Int) -> Double {
    var sums = Lanes.zero
    for k in 0..<blocks { sums += a[k] * b[k] }
    let halves = sums.lowHalf + sums.highHalf
    let quarters = halves.lowHalf + halves.highHalf
    return quarters[0] + quarters[1]
  }
}
