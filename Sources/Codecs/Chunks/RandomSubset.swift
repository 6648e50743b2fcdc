internal import Buffers

/// Indices at random, without replacement.
enum RandomSubset {
  /// Calls `body` with `drawn` of the indices below `count` (at most 2¹⁶), one after another; every choice has the same probability.
  ///
  /// Source: Fisher and Yates.
  @inline(__always)
  static func draw(_ drawn: Int, of count: Int, by numbers: Philox, _ body: (_ place: Int, _ index: Int) -> Void) {
    withUnsafeTemporaryAllocation(of: UInt16.self, capacity: count) { indices in
      for i in 0..<count { indices[i] = UInt16(truncatingIfNeeded: i) }
      var words = SIMD4<UInt32>.zero
      for place in 0..<drawn {
        if place & 3 == 0 { words = numbers.words(quad: place >> 2) }
        // The upper half of a product is uniform below the number of those that are left.
        let other = place + Int((UInt64(words[place & 3]) * UInt64(count - place)) >> 32)
        indices.swapAt(place, other)
        body(place, Int(indices[place]))
      }
    }
  }
}
