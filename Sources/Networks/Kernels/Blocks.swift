// Blocks of columns: the values of consecutive columns of a matrix of `rowCount` rows, in row-major order.

/// block = the columns `columns` of `matrix`, rows × columnCount.
func copyColumns(
  _ columns: Range<Int>, of matrix: UnsafePointer<Float>, columnCount: Int, rowCount: Int,
  into block: UnsafeMutablePointer<Float>
) {
  for row in 0..<rowCount {
    (block + row * columns.count).update(from: matrix + row * columnCount + columns.lowerBound, count: columns.count)
  }
}

/// The columns `columns` of `matrix`, rows × columnCount, = block.
func copy(
  _ block: UnsafePointer<Float>, rowCount: Int, into columns: Range<Int>, of matrix: UnsafeMutablePointer<Float>,
  columnCount: Int
) {
  for row in 0..<rowCount {
    (matrix + row * columnCount + columns.lowerBound).update(from: block + row * columns.count, count: columns.count)
  }
}

/// sums += terms.
func add(_ terms: UnsafePointer<Float>, count: Int, to sums: UnsafeMutablePointer<Float>) {
  let whole = count & ~15
  var index = 0
  while index < whole {
    (Lanes(at: sums + index) + Lanes(at: terms + index)).store(at: sums + index)
    index += 16
  }
  while index < count {
    sums[index] += terms[index]
    index += 1
  }
}
