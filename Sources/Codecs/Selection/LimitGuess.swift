internal import Kernels

/// A magnitude that the k-th largest of many values is likely to reach, guessed from a sample.
///
/// A choice never depends on it, only the time that it takes.
package enum LimitGuess {
  /// The values of a sample.
  package static let sampleCount = 1 << 16

  /// The limit, as a pattern of bits; 1, which all values but zeros reach, where a sample would not pay.
  static func limit(k: Int, of count: Int, _ fill: (UnsafeMutablePointer<Float>) -> Void) -> UInt32 {
    guard count >= 8 * sampleCount, k > 0 else { return 1 }
    // So many of the sample are expected, and with four standard deviations more there are too few only by bad luck.
    let expected = Double(k) / Double(count) * Double(sampleCount)
    let rank = Int(expected + 4 * expected.squareRoot() + 8)
    guard rank < sampleCount / 2 else { return 1 }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: sampleCount) { sample in
      fill(sample.baseAddress!)
      return largestPatterns(of: sample.baseAddress!, count: sampleCount, k: rank)?.key ?? 1
    }
  }

  /// Place `n` of `number` that are spread over 0..<bound, each anywhere in its share: no stride of the values meets all of them.
  package static func place(_ n: Int, of number: Int, below bound: Int) -> Int {
    let start = n * bound / number
    let length = (n + 1) * bound / number - start
    var z = UInt64(n + 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ z &>> 30) &* 0xBF58_476D_1CE4_E5B9
    return start + Int((z &>> 32) % UInt64(max(length, 1)))
  }
}
