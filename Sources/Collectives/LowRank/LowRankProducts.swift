internal import Buffers
internal import Kernels

/// The products of a matrix X of n rows of m values with factors that are stored column after column.
///
/// Each product and sum is rounded separately, in fp32 over 32 lanes, so that every processor finds the same bits.
enum LowRankProducts {
  /// P = X Q.
  static func left(
    _ x: UnsafePointer<Float>, _ matrix: LowRankSettings.Matrix, _ right: UnsafePointer<Float>,
    into left: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<matrix.rows {
      for column in 0..<matrix.rank {
        left[column * matrix.rows + row] = innerProduct(
          x + row * matrix.columns, right + column * matrix.columns, count: matrix.columns)
      }
    }
  }

  /// Q = Xᵀ P.
  static func right(
    _ x: UnsafePointer<Float>, _ matrix: LowRankSettings.Matrix, _ left: UnsafePointer<Float>,
    into right: UnsafeMutablePointer<Float>
  ) {
    right.update(repeating: 0, count: matrix.rank * matrix.columns)
    for row in 0..<matrix.rows {
      for column in 0..<matrix.rank {
        add(
          left[column * matrix.rows + row], times: x + row * matrix.columns, count: matrix.columns,
          to: right + column * matrix.columns)
      }
    }
  }

  /// Row `row` of P Qᵀ, added to `values` with a sign.
  static func addRow(
    _ row: Int, _ matrix: LowRankSettings.Matrix, _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, sign: Float,
    to values: UnsafeMutablePointer<Float>
  ) {
    for column in 0..<matrix.rank {
      add(
        sign * left[column * matrix.rows + row], times: right + column * matrix.columns, count: matrix.columns, to: values)
    }
  }

  /// Makes `count` columns of n values orthonormal, one after another in fp64 (modified Gram-Schmidt); a column that depends on those
  /// before it, within 2⁻²⁰, or that is not finite, becomes zero.
  ///
  /// Source: algorithms §6.1.
  static func orthonormalize(_ left: UnsafeMutablePointer<Float>, _ count: Int, ofLength n: Int) {
    var columns: [[Double]] = []
    for column in 0..<count {
      let values = left + column * n
      var x = (0..<n).map { Double(values[$0]) }
      let before = norm(x)
      for other in columns where !other.isEmpty {
        var share = 0.0
        for i in 0..<n { share += other[i] * x[i] }
        for i in 0..<n { x[i] -= share * other[i] }
      }
      let after = norm(x)
      let isKept = after.isFinite && after > 0 && after > 0x1p-20 * before
      for i in 0..<n {
        x[i] = isKept ? x[i] / after : 0
        values[i] = Float(x[i])
      }
      columns.append(isKept ? x : [])
    }
  }

  private static func norm(_ values: [Double]) -> Double {
    var squares = 0.0
    for value in values { squares += value * value }
    return squares.squareRoot()
  }
}

extension Sink {
  /// Takes the rows of a sum of matrices, as many together as fit in `block`; `write` adds to each, which begins with zeros.
  func takeRows(
    of matrix: LowRankSettings.Matrix, through block: FloatBuffer,
    _ write: (_ row: Int, _ values: UnsafeMutablePointer<Float>) -> Void
  ) {
    let height = max(1, block.count / matrix.columns)
    for first in stride(from: 0, to: matrix.rows, by: height) {
      let rows = first..<min(first + height, matrix.rows)
      block.values(in: 0..<rows.count * matrix.columns).update(repeating: 0)
      for row in rows { write(row, block.baseAddress + (row - first) * matrix.columns) }
      let start = matrix.range.lowerBound + first * matrix.columns
      take(block.baseAddress, in: start..<start + rows.count * matrix.columns)
    }
  }
}
