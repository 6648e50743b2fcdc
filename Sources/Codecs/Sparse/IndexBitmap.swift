/// A bit for each of n indices: 1 if it is in the list.
///
/// Source: algorithms §A9.
/// - Cost: n bits, the fewest if about a sixth of all indices or more are listed.
enum IndexBitmap {
  /// Writes these indices.
  static func write(_ indices: UnsafeBufferPointer<UInt32>, below bound: Int, to writer: inout BitWriter) {
    var next = 0
    for start in stride(from: 0, to: bound, by: 32) {
      var word: UInt64 = 0
      while next < indices.count, Int(indices[next]) < start + 32 {
        word |= 1 &<< UInt64(Int(indices[next]) - start)
        next += 1
      }
      writer.write(word, min(32, bound - start))
    }
  }

  /// Reads indices into all of `indices`; false if there are more or fewer.
  static func read(
    into indices: UnsafeMutableBufferPointer<UInt32>, below bound: Int, from reader: inout BitReader
  ) -> Bool {
    var count = 0
    for start in stride(from: 0, to: bound, by: 32) {
      var word = reader.read(min(32, bound - start))
      guard count + word.nonzeroBitCount <= indices.count else { return false }
      while word != 0 {
        indices[count] = UInt32(start + word.trailingZeroBitCount)
        count += 1
        word &= word &- 1
      }
    }
    return count == indices.count
  }
}
