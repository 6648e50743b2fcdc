import Buffers
import Networks

/// A convolution as products of plain matrices in fp64, beside the plain loops of ``ConvolutionTests``: what lies under a filter at each
/// of its places is a row of a matrix (im2col), and each pass is a product with it.
struct ReferenceConvolution {
  let geometry: ConvolutionGeometry
  let sampleCount: Int

  /// A matrix, row by row.
  private struct Matrix {
    let rows: Int
    let columns: Int
    var values: [Double]

    init(_ rows: Int, _ columns: Int, _ values: [Double]) {
      precondition(values.count == rows * columns)
      (self.rows, self.columns, self.values) = (rows, columns, values)
    }

    var transposed: Matrix {
      Matrix(columns, rows, (0..<columns).flatMap { column in (0..<rows).map { values[$0 * columns + column] } })
    }

    static func * (a: Matrix, b: Matrix) -> Matrix {
      precondition(a.columns == b.rows)
      var product = Matrix(a.rows, b.columns, Array(repeating: 0, count: a.rows * b.columns))
      for row in 0..<a.rows {
        for inner in 0..<a.columns {
          let factor = a.values[row * a.columns + inner]
          for column in 0..<b.columns {
            product.values[row * b.columns + column] += factor * b.values[inner * b.columns + column]
          }
        }
      }
      return product
    }
  }

  /// The values of a filter.
  private var filterLength: Int { geometry.weightShape.dropFirst().reduce(1, *) }
  /// The places of a filter on all samples.
  private var placeCount: Int { sampleCount * geometry.output.pixelCount }

  /// For each place of a filter and each of its values, in the order of the weights, the index of the input under it; nil for padding.
  private var indices: [Int?] {
    let (input, output, kernel) = (geometry.input, geometry.output, geometry.kernel)
    return (0..<placeCount).flatMap { place in
      (0..<filterLength).map { value -> Int? in
        let (sample, pixel) = (place / output.pixelCount, place % output.pixelCount)
        let (channel, rest) = (value / (kernel.height * kernel.width), value % (kernel.height * kernel.width))
        let row = pixel / output.width * geometry.stride + rest / kernel.width - geometry.padding
        let column = pixel % output.width * geometry.stride + rest % kernel.width - geometry.padding
        guard 0 <= row, row < input.height, 0 <= column, column < input.width else { return nil }
        return ((sample * input.height + row) * input.width + column) * input.channels + channel
      }
    }
  }

  private func patches(of inputs: [Double]) -> Matrix {
    Matrix(placeCount, filterLength, indices.map { $0.map { inputs[$0] } ?? 0 })
  }

  /// The outputs: places × filters, as they lie in memory.
  func outputs(_ inputs: [Double], weights: [Double], biases: [Double]) -> [Double] {
    let product = patches(of: inputs) * Matrix(geometry.filterCount, filterLength, weights).transposed
    return product.values.enumerated().map { $1 + biases[$0 % geometry.filterCount] }
  }

  /// The gradient of the inputs, from that of the outputs: each value goes back to where it was taken from.
  func inputGradient(_ delta: [Double], weights: [Double]) -> [Double] {
    let product = Matrix(placeCount, geometry.filterCount, delta) * Matrix(geometry.filterCount, filterLength, weights)
    var gradient = Array(repeating: 0.0, count: sampleCount * geometry.input.count)
    for (value, index) in zip(product.values, indices) { if let index { gradient[index] += value } }
    return gradient
  }

  /// The gradient of the weights.
  func weightGradient(_ inputs: [Double], _ delta: [Double]) -> [Double] {
    (Matrix(placeCount, geometry.filterCount, delta).transposed * patches(of: inputs)).values
  }

  /// The gradient of the biases: a product with ones.
  func biasGradient(_ delta: [Double]) -> [Double] {
    let ones = Matrix(1, placeCount, Array(repeating: 1, count: placeCount))
    return (ones * Matrix(placeCount, geometry.filterCount, delta)).values
  }
}
