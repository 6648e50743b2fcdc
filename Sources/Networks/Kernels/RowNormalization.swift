// Normalisation of each row of a matrix to mean 0 and variance 1, and then, column by column, a gain and a shift.

/// outputs = gain · (inputs − μ) / √(σ² + ε) + shift, with the mean μ and the variance σ² of each row, and ε = 1e-5.
///
/// - Parameters:
///   - inputs: Rows × columns.
///   - gain: A value for each column.
///   - shift: A value for each column.
///   - outputs: Set, rows × columns.
///   - statistics: Set to μ and 1 / √(σ² + ε) of each row.
func normalizeRows(
  _ inputs: UnsafePointer<Float>, rowCount: Int, columnCount: Int, gain: UnsafePointer<Float>, shift: UnsafePointer<Float>,
  into outputs: UnsafeMutablePointer<Float>, statistics: UnsafeMutablePointer<Float>
) {
  for rowIndex in 0..<rowCount {
    let row = inputs + rowIndex * columnCount
    let output = outputs + rowIndex * columnCount
    var sums = Lanes.zero
    eachBlock(of: columnCount) { sums += lanes(at: row + $0, $1) }
    let mean = sums.total / Float(columnCount)
    var squares = Lanes.zero
    eachBlock(of: columnCount) {
      let deviation = lanes(at: row + $0, $1, padding: mean) - mean
      squares += deviation * deviation
    }
    let inverse = 1 / (squares.total / Float(columnCount) + 1e-5).squareRoot()
    eachBlock(of: columnCount) {
      let normal = (lanes(at: row + $0, $1) - mean) * inverse
      store(normal * lanes(at: gain + $0, $1) + lanes(at: shift + $0, $1), at: output + $0, $1)
    }
    statistics[2 * rowIndex] = mean
    statistics[2 * rowIndex + 1] = inverse
  }
}

/// Replaces the gradient of the outputs of `normalizeRows` with that of its inputs, and sets those of gain and shift.
///
/// - Parameters:
///   - inputs: What `normalizeRows` read.
///   - statistics: What it set.
///   - gradient: Rows × columns.
///   - gainGradient: Set, a value for each column.
///   - shiftGradient: Set, a value for each column.
func differentiateRowNormalization(
  _ inputs: UnsafePointer<Float>, statistics: UnsafePointer<Float>, rowCount: Int, columnCount: Int,
  gain: UnsafePointer<Float>, gradient: UnsafeMutablePointer<Float>, gainGradient: UnsafeMutablePointer<Float>,
  shiftGradient: UnsafeMutablePointer<Float>
) {
  gainGradient.update(repeating: 0, count: columnCount)
  shiftGradient.update(repeating: 0, count: columnCount)
  for rowIndex in 0..<rowCount {
    let row = inputs + rowIndex * columnCount
    let delta = gradient + rowIndex * columnCount
    let (mean, inverse) = (statistics[2 * rowIndex], statistics[2 * rowIndex + 1])
    var sums = Lanes.zero
    var products = Lanes.zero
    eachBlock(of: columnCount) {
      let incoming = lanes(at: delta + $0, $1)
      let normal = (lanes(at: row + $0, $1, padding: mean) - mean) * inverse
      store(lanes(at: gainGradient + $0, $1) + incoming * normal, at: gainGradient + $0, $1)
      store(lanes(at: shiftGradient + $0, $1) + incoming, at: shiftGradient + $0, $1)
      let scaled = incoming * lanes(at: gain + $0, $1)
      sums += scaled
      products += scaled * normal
    }
    let sum = sums.total / Float(columnCount)
    let product = products.total / Float(columnCount)
    eachBlock(of: columnCount) {
      let normal = (lanes(at: row + $0, $1) - mean) * inverse
      let scaled = lanes(at: delta + $0, $1) * lanes(at: gain + $0, $1)
      store((scaled - sum - normal * product) * inverse, at: delta + $0, $1)
    }
  }
}

/// Calls `body` for blocks of sixteen columns, and for the rest.
@inline(__always)
private func eachBlock(of columnCount: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
  let whole = columnCount & ~15
  var first = 0
  while first < whole {
    body(first, 16)
    first += 16
  }
  if columnCount > whole { body(whole, columnCount - whole) }
}

@inline(__always)
private func lanes(at address: UnsafePointer<Float>, _ count: Int, padding: Float = 0) -> Lanes {
  count == 16 ? Lanes(at: address) : Lanes(at: address, count: count, padding: padding)
}

@inline(__always)
private func store(_ values: Lanes, at address: UnsafeMutablePointer<Float>, _ count: Int) {
  if count == 16 { values.store(at: address) } else { values.store(at: address, count: count) }
}
