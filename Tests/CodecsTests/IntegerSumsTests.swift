import Codecs
import Testing

/// Whole numbers in as many bits as the largest needs.
@Suite struct IntegerSumsTests {
  @Test(
    "the bits of sums of K ranks, algorithms 12.1",
    arguments: [(1, 1, 2), (1, 3, 3), (1, 4, 4), (7, 8, 7), (127, 2, 9), (127, 8, 11), (32767, 512, 25)])
  func bits(_ largest: Int, _ rankCount: Int, _ bits: Int) {
    // ⌈log₂(2mK + 1)⌉
    #expect(IntegerSums(limit: largest * rankCount).bits == bits)
  }

  @Test("what is written is read, of every length", arguments: [1, 2, 3, 7, 8, 127, 1016, 16_776_704])
  func roundTrip(_ limit: Int) {
    let sums = IntegerSums(limit: limit)
    for count in 0...70 {
      let values = (0..<count).map { i in
        i % 5 == 0 ? Float(limit) : i % 5 == 1 ? Float(-limit) : Float((i * 7919) % (2 * limit + 1) - limit)
      }
      #expect(sums.wordCount(of: count) == (count * sums.bits + 31) / 32)
      var words = [UInt32](repeating: .max, count: sums.wordCount(of: count) + 1)
      var found = [Float](repeating: .nan, count: count + 1)
      words.withUnsafeMutableBufferPointer { words in
        values.withUnsafeBufferPointer { sums.write($0.base, count: count, into: words.base) }
        found.withUnsafeMutableBufferPointer { sums.read(UnsafePointer(words.base), count: count, into: $0.base) }
      }
      #expect(words.last == .max && found.removeLast().isNaN, "beyond the end of \(count)")
      #expect(found == values, "\(count) values")
      // The bits after the last value are zeros.
      let rest = 32 * sums.wordCount(of: count) - count * sums.bits
      #expect(rest == 0 || words[sums.wordCount(of: count) - 1] >> UInt32(32 - rest) == 0)
    }
  }
}
