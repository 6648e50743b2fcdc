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
  let bits = SIMD8<UInt32>(1, 2, 4, 8, 16, 32, 64, 128)
  for start in stride(from: 0, to: count, by: 8) {
    let (word, shift) = (start / 32, UInt32(start % 32))
    var lanes = Eight(repeating: -1)
      .replacing(with: 1, where: (SIMD8(repeating: signs[word] >> shift) & bits) .!= 0)
    if let present { lanes.replace(with: 0, where: (SIMD8(repeating: present[word] >> shift) & bits) .== 0) }
    if start + 8 <= count {
      UnsafeMutableRawPointer(values + start).storeBytes(of: lanes, as: Eight.self)
    } else {
      for e in start..<count { values[e] = lanes[e - start] }
    }
  }
}
