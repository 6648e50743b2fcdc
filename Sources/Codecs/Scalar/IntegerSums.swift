internal import Buffers

/// Sums of integers, with as many bits as the largest sum needs.
///
/// A sum q of ±L is written as q + L, in ⌈log₂(2L + 1)⌉ bits one after another, low bits first, in words of 32; the bits after the last
/// are 0.
///
/// Source: algorithms §12.1.
/// - Cost: 4⌈n b/32⌉ bytes for n sums of b bits; value by value.
package struct IntegerSums: Hashable, Sendable {
  /// L.
  package let limit: Int
  /// b.
  package let bits: Int

  /// Sums of magnitudes up to `limit`, below 2²⁴.
  package init(limit: Int) {
    require(limit > 0 && limit < 1 << 24, "sums of integers are exact below 2²⁴, not \(limit)")
    self.limit = limit
    bits = Int.bitWidth - (2 * limit).leadingZeroBitCount
  }

  /// The words of `count` sums.
  package func wordCount(of count: Int) -> Int { (count * bits + 31) / 32 }

  /// Writes whole numbers of ±L.
  package func write(_ sums: UnsafePointer<Float>, count: Int, into words: UnsafeMutablePointer<UInt32>) {
    var (word, filled, place) = (UInt64(0), 0, 0)
    for index in 0..<count {
      word |= UInt64(Int(sums[index]) + limit) << UInt64(filled)
      filled += bits
      guard filled >= 32 else { continue }
      words[place] = UInt32(truncatingIfNeeded: word)
      (word, filled, place) = (word >> 32, filled - 32, place + 1)
    }
    if filled > 0 { words[place] = UInt32(truncatingIfNeeded: word) }
  }

  /// Reads what was written.
  package func read(_ words: UnsafePointer<UInt32>, count: Int, into sums: UnsafeMutablePointer<Float>) {
    let mask = UInt64(1) << UInt64(bits) - 1
    var (word, filled, place) = (UInt64(0), 0, 0)
    for index in 0..<count {
      if filled < bits {
        word |= UInt64(words[place]) << UInt64(filled)
        (filled, place) = (filled + 32, place + 1)
      }
      sums[index] = Float(Int(word & mask) - limit)
      (word, filled) = (word >> UInt64(bits), filled - bits)
    }
  }
}
