internal import Buffers

#if canImport(Glibc)
  import Glibc
#endif

/// The discrete Fourier transform of eight complex signals at once, one per lane; the length is a power of two.
///
/// Radix 2, decimation in time. Twiddle factors are computed in fp64 and rounded once. Cost: 5 n log₂ n vector operations.
struct FourierTransform: Sendable {
  /// The number of points.
  let count: Int
  /// Where input n is stored before the transform: its index with the bits reversed.
  let places: [Int]
  /// exp(−2πi k / count), k < count / 2.
  private let cosines: [Float]
  private let sines: [Float]

  /// A transform of `count` points.
  init(count: Int) {
    require(count >= 2 && count & (count - 1) == 0, "a transform of \(count) points is not of a power of two")
    self.count = count
    let shift = Int.bitWidth - count.trailingZeroBitCount
    places = (0..<count).map { index in
      var (rest, reversed) = (index, 0)
      for _ in 0..<Int.bitWidth - shift {
        reversed = reversed << 1 | rest & 1
        rest >>= 1
      }
      return reversed
    }
    cosines = (0..<count / 2).map { Float(cos(2 * Double.pi * Double($0) / Double(count))) }
    sines = (0..<count / 2).map { Float(-sin(2 * Double.pi * Double($0) / Double(count))) }
  }

  /// Transforms in place signals that were stored by `places`.
  func transform(_ real: UnsafeMutablePointer<SIMD8<Float>>, _ imaginary: UnsafeMutablePointer<SIMD8<Float>>) {
    var half = 1
    while half < count {
      let stride = count / (2 * half)
      for k in 0..<half {
        let (c, s) = (cosines[k * stride], sines[k * stride])
        var upper = k
        while upper < count {
          let lower = upper + half
          let (x, y) = (real[lower], imaginary[lower])
          let (p, q) = (x * c - y * s, x * s + y * c)
          real[lower] = real[upper] - p
          imaginary[lower] = imaginary[upper] - q
          real[upper] += p
          imaginary[upper] += q
          upper += 2 * half
        }
      }
      half *= 2
    }
  }
}
