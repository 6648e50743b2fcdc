extension Portable {
  /// Copies the values whose magnitude, as a bit pattern, is at least `key`, with their indices; returns their number.
  static func selectAtLeast(
    _ values: UnsafePointer<Float>, _ count: Int, _ key: UInt32, _ first: UInt32, _ indices: UnsafeMutablePointer<UInt32>,
    _ selected: UnsafeMutablePointer<Float>
  ) -> Int {
    var found = 0
    let (least, whole) = (Bits(repeating: key), count / 16 * 16)
    for start in stride(from: 0, to: count, by: 16) {
      if start < whole {
        let pattern = UnsafeRawPointer(values + start).loadUnaligned(as: Bits.self) & Bits(repeating: 0x7FFF_FFFF)
        guard union(Bits.zero.replacing(with: 1, where: pattern .>= least)) != 0 else { continue }
      }
      for e in start..<min(start + 16, count) where values[e].bitPattern & 0x7FFF_FFFF >= key {
        indices[found] = first &+ UInt32(truncatingIfNeeded: e)
        selected[found] = values[e]
        found += 1
      }
    }
    return found
  }
}

extension Portable {
  /// The digits of a pattern without its sign, the highest first: the lowest bit and the number of values of each.
  private static var digits: [(shift: UInt32, bins: Int)] { [(20, 1 << 11), (10, 1 << 10), (0, 1 << 10)] }

  /// The smallest pattern of the `k` largest magnitudes and its number among them; nil if at most k values are nonzero.
  static func threshold(of values: UnsafePointer<Float>, _ count: Int, k: Int) -> (key: UInt32, tieCount: Int)? {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 1 << 11) { room in
      let bins = room.baseAddress!
      var (wanted, prefix) = (k, UInt32(0))
      for (shift, binCount) in digits {
        bins.update(repeating: 0, count: binCount)
        let (mask, above) = (UInt32(binCount - 1), UInt32(binCount.trailingZeroBitCount))
        for i in 0..<count {
          let key = values[i].bitPattern & 0x7FFF_FFFF
          if key &>> (shift &+ above) == prefix { bins[Int(key &>> shift & mask)] &+= 1 }
        }
        var bin = binCount - 1
        while bin > 0, Int(bins[bin]) < wanted {
          wanted -= Int(bins[bin])
          bin -= 1
        }
        prefix = prefix << above | UInt32(bin)
      }
      return prefix == 0 ? nil : (prefix, wanted)
    }
  }
}

extension Portable {
  /// The limit, bit by bit from the highest on.
  static func magnitudeLimit(
    of values: UnsafePointer<Float>, _ count: Int, _ range: ClosedRange<Int>
  ) -> (key: UInt32, count: Int) {
    var (key, reaching) = (UInt32(0), count)
    var bit: UInt32 = 1 << 30
    while bit != 0, reaching > range.upperBound {
      let found = countAtLeast(values, count, key | bit)
      if found >= range.lowerBound { (key, reaching) = (key | bit, found) }
      bit &>>= 1
    }
    return (key, reaching)
  }

  private static func countAtLeast(_ values: UnsafePointer<Float>, _ count: Int, _ key: UInt32) -> Int {
    typealias Patterns = SIMD16<Int32>
    let (least, whole) = (Patterns(repeating: Int32(bitPattern: key)), count / 16 * 16)
    var lanes = Patterns.zero
    for start in stride(from: 0, to: whole, by: 16) {
      let pattern = UnsafeRawPointer(values + start).loadUnaligned(as: Patterns.self) & Patterns(repeating: 0x7FFF_FFFF)
      lanes &+= Patterns.zero.replacing(with: 1, where: pattern .>= least)
    }
    var found = Int(lanes.wrappedSum())
    for e in whole..<count where values[e].bitPattern & 0x7FFF_FFFF >= key { found += 1 }
    return found
  }
}
