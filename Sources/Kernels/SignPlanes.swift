/// Packs the comparison of values with zero into bits: bit e % 32 of word e / 32 belongs to value e; bits after the last value are 0.
///
/// - Parameters:
///   - values: The values.
///   - count: Their number, from 0.
///   - strictly: Whether a bit is 1 if the value is above zero; otherwise, if it is zero, of either sign, or above. NaN is neither.
///   - words: Room for ⌈count/32⌉ words.
public func packSigns(
  _ values: UnsafePointer<Float>, count: Int, strictly: Bool, into words: UnsafeMutablePointer<UInt32>
) {
  pack(values, count, into: words) { strictly ? $0 .> 0 : $0 .>= 0 }
}

/// Packs which values differ from zero, as ``packSigns(_:count:strictly:into:)``; NaN does not.
public func packNonzeros(_ values: UnsafePointer<Float>, count: Int, into words: UnsafeMutablePointer<UInt32>) {
  pack(values, count, into: words) { ($0 .> 0) .| ($0 .< 0) }
}

private typealias Eight = SIMD8<Float>

@inline(__always)
private func pack(
  _ values: UnsafePointer<Float>, _ count: Int, into words: UnsafeMutablePointer<UInt32>,
  _ isOne: (Eight) -> SIMDMask<SIMD8<Int32>>
) {
  let bits = SIMD8<UInt32>(1, 2, 4, 8, 16, 32, 64, 128)
  let whole = count / 32
  for word in 0..<whole {
    var sum = SIMD8<UInt32>.zero
    for part in 0..<4 {
      let lanes = UnsafeRawPointer(values + 32 * word + 8 * part).loadUnaligned(as: Eight.self)
      sum |= SIMD8<UInt32>.zero.replacing(with: bits &<< UInt32(8 * part), where: isOne(lanes))
    }
    words[word] = sum.wrappedSum()
  }
  guard count % 32 > 0 else { return }
  var last: UInt32 = 0
  for e in 32 * whole..<count where isOne(Eight(repeating: values[e]))[0] { last |= 1 << UInt32(e % 32) }
  words[whole] = last
}

/// Sets `values` to −1 or 1 by packed bits, or to 0 where a bit of `present` is 0; without `present` none is 0.
public func unpackSigns(
  _ signs: UnsafePointer<UInt32>, present: UnsafePointer<UInt32>?, count: Int, into values: UnsafeMutablePointer<Float>
) {
  let places = SIMD8<UInt32>(0, 1, 2, 3, 4, 5, 6, 7)
  for start in stride(from: 0, to: count, by: 8) {
    let (word, shifts) = (start / 32, places &+ UInt32(start % 32))
    // The bits of −1, with another sign where there is a one.
    var lanes = ((SIMD8(repeating: signs[word]) &>> shifts) &<< 31) ^ SIMD8(repeating: Float(-1).bitPattern)
    if let present { lanes &= 0 &- ((SIMD8(repeating: present[word]) &>> shifts) & 1) }
    let decoded = unsafeBitCast(lanes, to: Eight.self)
    if start + 8 <= count {
      UnsafeMutableRawPointer(values + start).storeBytes(of: decoded, as: Eight.self)
    } else {
      for e in start..<count { values[e] = decoded[e - start] }
    }
  }
}

/// Sets `values` to (factor · n − offset)/divisor, n being the whole number whose binary digits `digits` hold, the lowest first.
///
/// Digit d of value e is bit e % 32 of word d · `wordCount` + e / 32.
public func unpackCounts(
  _ digits: UnsafePointer<UInt32>, digitCount: Int, wordCount: Int, count: Int, factor: Int, offset: Int, divisor: Float,
  into values: UnsafeMutablePointer<Float>
) {
  let places = SIMD8<UInt32>(0, 1, 2, 3, 4, 5, 6, 7)
  let (scale, start) = (Float(factor), Float(offset))
  for first in stride(from: 0, to: count, by: 8) {
    let (word, shifts) = (first / 32, places &+ UInt32(first % 32))
    var lanes = SIMD8<UInt32>.zero
    for digit in 0..<digitCount {
      lanes |= ((SIMD8(repeating: digits[digit * wordCount + word]) &>> shifts) & 1) &<< UInt32(digit)
    }
    let decoded = (Eight(SIMD8<Int32>(truncatingIfNeeded: lanes)) * scale - start) / divisor
    for e in first..<min(first + 8, count) { values[e] = decoded[e - first] }
  }
}
