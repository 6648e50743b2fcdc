/// The sum of the multipliers 1/s of a tensor or a part of it: exact, so that neither order nor grouping of additions matters.
///
/// How a tensor is cut between owners, and in which pieces its sums arrive, must not change a bit of the model; sums of floats
/// would. Each multiplier is its 24 digits times a power of two: digits are added as integers, separately for every power.
package final class MultiplierSum {
  /// The multipliers that are added at a time.
  package typealias Block = SIMD16<Float>

  /// The number of words that represent a sum.
  package static let wordCount = 3
  /// The unit of the total is two to this power: half of the smallest digit of any multiplier that matters.
  private static let unitExponent = -56

  /// The digits by exponent; those of zeros come first.
  private let digits = UnsafeMutablePointer<UInt64>.allocate(capacity: 256)
  private var addedCount = 0

  /// Creates an empty sum.
  package init() { clear() }

  deinit { digits.deallocate() }

  /// Resets the sum.
  package func clear() {
    digits.update(repeating: 0, count: 256)
    addedCount = 0
  }

  /// Adds positive numbers of at least 2⁻⁶⁴; zeros are not counted.
  @inline(__always)
  package func add(_ multipliers: Block) {
    let bits = unsafeBitCast(multipliers, to: SIMD16<UInt32>.self)
    for lane in 0..<Block.scalarCount {
      digits[Int(bits[lane] >> 23)] &+= UInt64(bits[lane] & 0x7F_FFFF | 0x80_0000)
    }
    addedCount += Block.scalarCount
  }

  /// The total and the number of multipliers, to be added to those of other parts by ``mean(of:)``.
  package var words: [UInt64] {
    var total: UInt128 = 0
    for exponent in 1..<256 where digits[exponent] > 0 {
      // The unit of a digit is 2^(exponent − 150).
      let shift = exponent - 150 - MultiplierSum.unitExponent
      let digits = UInt128(digits[exponent])
      total += shift >= 0 ? digits << UInt128(shift) : digits >> UInt128(-shift)
    }
    // Each zero has added 2²³.
    let count = addedCount - Int(digits[0] >> 23)
    return [UInt64(truncatingIfNeeded: total >> 64), UInt64(truncatingIfNeeded: total), UInt64(count)]
  }

  /// The mean multiplier of a tensor from the words of its parts; 1 if there are no multipliers.
  package static func mean(of parts: some Sequence<[UInt64]>) -> Double {
    var (total, count): (UInt128, UInt64) = (0, 0)
    for words in parts {
      total += UInt128(words[0]) << 64 | UInt128(words[1])
      count += words[2]
    }
    return count == 0 ? 1 : Double(total) * Double(sign: .plus, exponent: unitExponent, significand: 1) / Double(count)
  }
}
