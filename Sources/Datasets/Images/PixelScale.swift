internal import Buffers

/// Converts bytes to inputs: (byte − mean) / deviation, with one mean and one deviation for all pixels of a data set.
struct PixelScale: Sendable {
  /// The mean of the bytes, 0 … 255.
  let mean: Float
  private let reciprocal: Float

  /// A scale with this mean and standard deviation of the bytes.
  init(mean: Double, deviation: Double) {
    require(deviation > 0, "pixels that never vary cannot be standardised")
    self.mean = Float(mean)
    reciprocal = Float(1 / deviation)
  }

  /// Writes one value for each byte.
  func standardize(_ bytes: UnsafePointer<UInt8>, count: Int, into inputs: UnsafeMutablePointer<Float>) {
    for index in 0..<count {
      inputs[index] = (Float(bytes[index]) - mean) * reciprocal
    }
  }
}

/// The mean and standard deviation of bytes: exact sums in integers, then fp64.
package func momentsOfBytes(_ bytes: UnsafeBufferPointer<UInt8>) -> (mean: Double, deviation: Double) {
  require(!bytes.isEmpty, "no bytes have no mean")
  var histogram = [Int](repeating: 0, count: 256)
  for byte in bytes { histogram[Int(byte)] += 1 }
  let count = Double(bytes.count)
  let mean = Double(histogram.indices.reduce(0) { $0 + $1 * histogram[$1] }) / count
  let variance = histogram.indices.reduce(0.0) {
    let difference = Double($1) - mean
    return $0 + difference * difference * Double(histogram[$1])
  }
  return (mean, (variance / count).squareRoot())
}
