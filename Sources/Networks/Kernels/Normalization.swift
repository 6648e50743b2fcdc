// Means, variances and normalization by the columns of a matrix of rows × columns: channels of pixels.

/// The rows whose sums are taken in fp32, in the first-level cache; those of different blocks are joined in fp64.
private let blockRows = 64

/// The moments of each column, in two passes over each block: its mean, and the distances from it.
func columnMoments(of matrix: UnsafePointer<Float>, rowCount: Int, columnCount: Int) -> BatchMoments {
  var moments = BatchMoments(channels: columnCount)
  var block = moments
  for start in stride(from: 0, to: rowCount, by: blockRows) {
    let rows = min(blockRows, rowCount - start)
    block.count = Double(rows)
    eachLanes(of: columnCount) { column, count in
      let values = matrix + start * columnCount + column
      var sum = Lanes.zero
      for row in 0..<rows { sum += load(values + row * columnCount, count) }
      let center = sum / Float(rows)
      var (rest, squares) = (Lanes.zero, Lanes.zero)
      for row in 0..<rows {
        let distance = load(values + row * columnCount, count) - center
        rest += distance
        squares += distance * distance
      }
      for lane in 0..<count {
        // What rounding left of the distances moves the mean, and is no variance.
        let shift = Double(rest[lane]) / Double(rows)
        block.means[column + lane] = Double(center[lane]) + shift
        block.squares[column + lane] = Double(squares[lane]) - shift * Double(rest[lane])
      }
    }
    moments.join(block)
  }
  return moments
}

/// outputs = (inputs − means) · scales + biases, plus `addend` if there is one, with ReLU after it if `isRectified`.
func normalizeColumns(
  _ inputs: UnsafePointer<Float>, means: UnsafePointer<Float>, scales: UnsafePointer<Float>, biases: UnsafePointer<Float>,
  adding addend: UnsafePointer<Float>?, isRectified: Bool, rowCount: Int, columnCount: Int,
  into outputs: UnsafeMutablePointer<Float>
) {
  eachBlock(rowCount, columnCount) { rows, column, count in
    let (mean, scale, bias) = (load(means + column, count), load(scales + column, count), load(biases + column, count))
    for row in rows {
      let place = row * columnCount + column
      var value = (load(inputs + place, count) - mean) * scale + bias
      if let addend { value += load(addend + place, count) }
      if isRectified { value.replace(with: 0, where: value .< 0) }
      store(value, outputs + place, count)
    }
  }
}

/// The sums over the rows of the gradient, and of its product with the normalized inputs, by columns: first all of the former.
///
/// - Parameter outputs: If there are some, those of a ReLU: where they are 0 the gradient becomes 0 before.
func sumNormalizedGradient(
  _ gradient: UnsafeMutablePointer<Float>, outputs: UnsafePointer<Float>?, inputs: UnsafePointer<Float>,
  means: UnsafePointer<Float>, inverseDeviations: UnsafePointer<Float>, rowCount: Int, columnCount: Int
) -> [Double] {
  var result = Array(repeating: 0.0, count: 2 * columnCount)
  result.withUnsafeMutableBufferPointer { result in
    eachBlock(rowCount, columnCount) { rows, column, count in
      let mean = load(means + column, count)
      var (sum, product) = (Lanes.zero, Lanes.zero)
      for row in rows {
        let place = row * columnCount + column
        var value = load(gradient + place, count)
        if let outputs {
          value.replace(with: 0, where: load(outputs + place, count) .<= 0)
          store(value, gradient + place, count)
        }
        sum += value
        product += value * (load(inputs + place, count) - mean)
      }
      product *= load(inverseDeviations + column, count)
      for lane in 0..<count {
        result[column + lane] += Double(sum[lane])
        result[columnCount + column + lane] += Double(product[lane])
      }
    }
  }
  return result
}

/// result = scales · (gradient − first − (inputs − means) · second), by columns; the result may be the gradient.
func normalizeGradient(
  _ gradient: UnsafePointer<Float>, inputs: UnsafePointer<Float>, means: UnsafePointer<Float>, scales: UnsafePointer<Float>,
  first: UnsafePointer<Float>, second: UnsafePointer<Float>, rowCount: Int, columnCount: Int,
  into result: UnsafeMutablePointer<Float>
) {
  eachBlock(rowCount, columnCount) { rows, column, count in
    let (mean, scale) = (load(means + column, count), load(scales + column, count))
    let (first, second) = (load(first + column, count), load(second + column, count))
    for row in rows {
      let place = row * columnCount + column
      let distance = load(inputs + place, count) - mean
      store(scale * (load(gradient + place, count) - first - distance * second), result + place, count)
    }
  }
}

/// means = the means of each column over the `rowCount` rows of each of `sampleCount` samples.
func averageRows(
  _ inputs: UnsafePointer<Float>, sampleCount: Int, rowCount: Int, columnCount: Int, into means: UnsafeMutablePointer<Float>
) {
  for sample in 0..<sampleCount {
    eachLanes(of: columnCount) { column, count in
      let values = inputs + sample * rowCount * columnCount + column
      var sum = Lanes.zero
      for row in 0..<rowCount { sum += load(values + row * columnCount, count) }
      store(sum / Float(rowCount), means + sample * columnCount + column, count)
    }
  }
}

/// Gives each row of a sample 1/rowCount of the gradient of its mean.
func distributeToRows(
  _ gradient: UnsafePointer<Float>, sampleCount: Int, rowCount: Int, columnCount: Int, into result: UnsafeMutablePointer<Float>
) {
  for sample in 0..<sampleCount {
    eachLanes(of: columnCount) { column, count in
      let share = load(gradient + sample * columnCount + column, count) / Float(rowCount)
      for row in sample * rowCount..<(sample + 1) * rowCount { store(share, result + row * columnCount + column, count) }
    }
  }
}

/// Calls `body` for blocks of rows, and in each for blocks of up to sixteen columns.
@inline(__always)
private func eachBlock(
  _ rowCount: Int, _ columnCount: Int, _ body: (_ rows: Range<Int>, _ column: Int, _ count: Int) -> Void
) {
  for start in stride(from: 0, to: rowCount, by: blockRows) {
    let rows = start..<min(start + blockRows, rowCount)
    eachLanes(of: columnCount) { body(rows, $0, $1) }
  }
}
