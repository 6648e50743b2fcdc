extension Portable {
  /// The code of a group of three values or more, as the codec `OneBit` describes it.
  static func oneBitEncode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ code: UnsafeMutableRawPointer
  ) -> Bool {
    let words = (code + 8).assumingMemoryBound(to: UInt32.self)
    let whole = count / 32 * 32
    var (positive, negative) = (Lanes(), Lanes())
    var positiveCount = 0
    for start in stride(from: 0, to: whole, by: 32) {
      let v = sumOfTwo(load(gradient + start), load(residual + start))
      let word = gather(v, &positive, &negative)
      positiveCount += word.nonzeroBitCount
      words[start / 32] = word.littleEndian
    }
    var last = Lanes()
    if whole < count {
      let (g, r) = (
        loadPartially(gradient + whole, count: count - whole), loadPartially(residual + whole, count: count - whole)
      )
      last = sumOfTwo(g, r)
      let word = gather(last, &positive, &negative) & ((1 << UInt32(count - whole)) - 1)
      positiveCount += word.nonzeroBitCount
      words[whole / 32] = word.littleEndian
    }
    let (positiveSum, negativeSum) = (positive.sum, negative.sum)
    guard positiveSum.isFinite, negativeSum.isFinite else {
      code.initializeMemory(as: UInt8.self, repeating: 0, count: 8 + (count + 31) / 32 * 4)
      return false
    }
    let negativeCount = count - positiveCount
    let a0 = negativeCount == 0 ? 0 : negativeSum / Float(negativeCount)
    let a1 = positiveCount == 0 ? 0 : positiveSum / Float(positiveCount)
    code.storeBytes(of: a0.bitPattern.littleEndian, as: UInt32.self)
    code.storeBytes(of: a1.bitPattern.littleEndian, toByteOffset: 4, as: UInt32.self)

    // The values are computed again, from the cache: until here the residual had to stay as it was.
    let (below, above) = (Half(repeating: a0), Half(repeating: a1))
    for start in stride(from: 0, to: whole, by: 32) {
      let v = sumOfTwo(load(gradient + start), load(residual + start))
      store(remainder(v, below, above), to: residual + start)
    }
    if whole < count { storePartially(remainder(last, below, above), to: residual + whole, count: count - whole) }
    return true
  }

  /// Adds 32 values to the sums of their sides, and gives their word: 1 for a value that is not negative.
  @inline(__always)
  private static func gather(_ v: Lanes, _ positive: inout Lanes, _ negative: inout Lanes) -> UInt32 {
    let (low, high) = (v.low .< Half.zero, v.high .< Half.zero)
    positive.low += v.low.replacing(with: Half.zero, where: low)
    positive.high += v.high.replacing(with: Half.zero, where: high)
    negative.low += Half.zero.replacing(with: v.low, where: low)
    negative.high += Half.zero.replacing(with: v.high, where: high)
    let lowBits = Bits.zero.replacing(with: weights, where: low)
    return ~union(lowBits | Bits.zero.replacing(with: weights &<< Bits(repeating: 16), where: high))
  }

  @inline(__always)
  private static func remainder(_ v: Lanes, _ below: Half, _ above: Half) -> Lanes {
    Lanes(
      low: v.low - above.replacing(with: below, where: v.low .< Half.zero),
      high: v.high - above.replacing(with: below, where: v.high .< Half.zero))
  }

  /// Sixteen values of a code: `half` 2 w is the low half of word w, 2 w + 1 the high one.
  @inline(__always)
  private static func decoded(_ code: UnsafeRawPointer, half: Int) -> Half {
    let a0 = Half(repeating: Float(bitPattern: UInt32(littleEndian: code.load(as: UInt32.self))))
    let a1 = Half(repeating: Float(bitPattern: UInt32(littleEndian: code.load(fromByteOffset: 4, as: UInt32.self))))
    let word = UInt32(UInt16(littleEndian: code.load(fromByteOffset: 8 + 2 * half, as: UInt16.self)))
    return a1.replacing(with: a0, where: (Bits(repeating: word) & weights) .== Bits.zero)
  }

  /// The values of word `index` of a code.
  @inline(__always)
  private static func decoded(_ code: UnsafeRawPointer, word index: Int) -> Lanes {
    Lanes(low: decoded(code, half: 2 * index), high: decoded(code, half: 2 * index + 1))
  }

  /// Sets `values` to the decoded group.
  static func oneBitDecode(_ code: UnsafeRawPointer, _ count: Int, _ values: UnsafeMutablePointer<Float>) {
    for word in 0..<count / 32 { store(decoded(code, word: word), to: values + 32 * word) }
    let (whole, rest) = (count / 32 * 32, count % 32)
    if rest > 0 { storePartially(decoded(code, word: count / 32), to: values + whole, count: rest) }
  }

  /// Adds the decoded group to `values`.
  static func oneBitDecodeAdding(_ code: UnsafeRawPointer, _ count: Int, _ values: UnsafeMutablePointer<Float>) {
    for word in 0..<count / 32 {
      store(load(values + 32 * word) + decoded(code, word: word), to: values + 32 * word)
    }
    let (whole, rest) = (count / 32 * 32, count % 32)
    guard rest > 0 else { return }
    let total = loadPartially(values + whole, count: rest) + decoded(code, word: count / 32)
    storePartially(total, to: values + whole, count: rest)
  }

  /// Sets `values` to the sum of decoded groups in the order given.
  static func oneBitDecodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, _ codeCount: Int, _ count: Int, _ values: UnsafeMutablePointer<Float>
  ) {
    // Sixteen lanes at a time: their sums stay in registers.
    for half in 0..<(count + 15) / 16 {
      var total = decoded(codes[0], half: half)
      for k in stride(from: 1, to: codeCount, by: 1) { total += decoded(codes[k], half: half) }
      if 16 * half + 16 <= count {
        UnsafeMutableRawPointer(values + 16 * half).storeBytes(of: total, as: Half.self)
      } else {
        storePartially(Lanes(low: total), to: values + 16 * half, count: count % 16)
      }
    }
  }
}
