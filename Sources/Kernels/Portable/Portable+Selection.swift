extension Portable {
  /// Copies the values whose magnitude, as a pattern of bits, is `key` or more, and their indices; returns how many.
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
  /// The digits of a pattern without its sign, the highest first: where they begin, and how many values they have.
  private static var digits: [(shift: UInt32, bins: Int)] { [(20, 1 << 11), (10, 1 << 10), (0, 1 << 10)] }

  /// The least pattern of the `k` largest magnitudes and how many of it are among them; nil if no more than k are not zero.
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
