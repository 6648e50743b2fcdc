/// The Elias-Fano code of c ascending indices below n.
///
/// The low ℓ bits of each index as they are, then the high bits in unary: for each index as many zeros as its high bits exceed those
/// of the one before, and a one. ℓ follows from c and n alone, where the most bits are fewest, near log₂(n/c).
///
/// Source: algorithms §A9.
/// - Cost: At most c(ℓ + 1) + ⌊(n − 1)/2^ℓ⌋ bits, below c(2 + ⌈log₂(n/c)⌉): 8 bits for each of 64 indices below 4 096.
enum EliasFano {
  /// ℓ.
  static func lowBits(count: Int, below bound: Int) -> Int {
    var (low, most) = (0, mostBits(count: count, below: bound, low: 0))
    while true {
      let next = mostBits(count: count, below: bound, low: low + 1)
      if next >= most { return low }
      (low, most) = (low + 1, next)
    }
  }

  /// The most bits of `count` indices.
  static func mostBits(count: Int, below bound: Int) -> Int {
    count == 0 ? 0 : mostBits(count: count, below: bound, low: lowBits(count: count, below: bound))
  }

  private static func mostBits(count: Int, below bound: Int, low: Int) -> Int { count * (low + 1) + (bound - 1) >> low }

  /// The bits of these indices.
  static func bitCount(_ indices: UnsafeBufferPointer<UInt32>, below bound: Int) -> Int {
    guard let last = indices.last else { return 0 }
    let low = lowBits(count: indices.count, below: bound)
    return indices.count * (low + 1) + Int(last) >> low
  }

  /// Writes these indices.
  static func write(_ indices: UnsafeBufferPointer<UInt32>, below bound: Int, to writer: inout BitWriter) {
    let low = lowBits(count: indices.count, below: bound)
    let mask = UInt32(1) << UInt32(low) - 1
    for index in indices { writer.write(UInt64(index & mask), low) }
    var before: UInt32 = 0
    for index in indices {
      let high = index >> UInt32(low)
      writer.writeUnary(Int(high - before))
      before = high
    }
  }

  /// Reads indices into all of `indices`; false if they do not ascend below `bound`, or end too early.
  static func read(
    into indices: UnsafeMutableBufferPointer<UInt32>, below bound: Int, from reader: inout BitReader
  ) -> Bool {
    let low = lowBits(count: indices.count, below: bound)
    for place in indices.indices { indices[place] = UInt32(truncatingIfNeeded: reader.read(low)) }
    var (high, next) = (0, 0)
    for place in indices.indices {
      guard let step = reader.readUnary() else { return false }
      high += step
      let index = high << low + Int(indices[place])
      guard index >= next, index < bound else { return false }
      indices[place] = UInt32(index)
      next = index + 1
    }
    return true
  }
}
