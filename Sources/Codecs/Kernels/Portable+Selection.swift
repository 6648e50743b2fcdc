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
