internal import Buffers

/// Converts bytes to inputs: (byte − mean) / deviation, with one mean and one deviation for all pixels of a data set, or of a channel.
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

  /// The value of a byte.
  func value(of byte: UInt8) -> Float { (Float(byte) - mean) * reciprocal }

  /// Writes one value for each byte.
  func standardize(_ bytes: UnsafePointer<UInt8>, count: Int, into inputs: UnsafeMutablePointer<Float>) {
    for index in 0..<count {
      inputs[index] = value(of: bytes[index])
    }
  }
}

/// The mean and standard deviation of bytes: exact sums in integers, then fp64.
package func momentsOfBytes(_ bytes: UnsafeBufferPointer<UInt8>) -> (mean: Double, deviation: Double) {
  var histogram = ByteHistogram()
  for byte in bytes { histogram.counts[Int(byte)] += 1 }
  return histogram.moments
}

/// How often each byte occurs.
struct ByteHistogram {
  /// The number of bytes of each value, 0 … 255.
  var counts = [Int](repeating: 0, count: 256)

  /// The mean and standard deviation: exact sums in integers, then fp64, the same bits on every machine.
  var moments: (mean: Double, deviation: Double) {
    let total = counts.reduce(0, +)
    require(total > 0, "no bytes have no mean")
    let count = Double(total)
    let mean = Double(counts.indices.reduce(0) { $0 + $1 * counts[$1] }) / count
    let variance = counts.indices.reduce(0.0) {
      let difference = Double($1) - mean
      return $0 + difference * difference * Double(counts[$1])
    }
    return (mean, (variance / count).squareRoot())
  }
}
