/// The gaps between ascending indices below n, in a Golomb code whose parameter is a power of two (Rice).
///
/// Five bits say r; then for each index the number g of indices between it and the one before (the first: below it), as ⌊g/2^r⌋
/// zeros, a one, and the low r bits of g. r is the one with the fewest bits.
///
/// Source: Golomb 1966; algorithms §A9.
/// - Cost: At most 5 bits more than `EliasFano`, and near the entropy if indices are drawn at random: 7.6 bits for each of 64
///   indices below 4 096.
enum RiceGaps {
  private static let parameterBits = 5

  /// The most bits of `count` indices.
  static func mostBits(count: Int, below bound: Int) -> Int {
    count == 0 ? 0 : parameterBits + EliasFano.mostBits(count: count, below: bound)
  }

  /// The best r, and the bits of these indices.
  static func best(_ indices: UnsafeBufferPointer<UInt32>, below bound: Int) -> (parameter: Int, bitCount: Int) {
    guard !indices.isEmpty else { return (0, 0) }
    // The bits are convex in r. Elias-Fano's is where to begin, as no r near it takes fewer if indices are spread evenly.
    func bits(_ parameter: Int) -> Int {
      var (bits, next) = (parameterBits + indices.count * (parameter + 1), 0)
      for index in indices {
        bits += (Int(index) - next) >> parameter
        next = Int(index) + 1
      }
      return bits
    }
    let start = min(EliasFano.lowBits(count: indices.count, below: bound), (1 << parameterBits) - 1)
    var found = (parameter: start, bitCount: bits(start))
    for step in [1, -1] {
      while case let next = found.parameter + step, next >= 0, next < 1 << parameterBits, case let fewer = bits(next),
        fewer < found.bitCount
      {
        found = (next, fewer)
      }
    }
    return found
  }

  /// Writes these indices with parameter r.
  static func write(_ indices: UnsafeBufferPointer<UInt32>, parameter: Int, to writer: inout BitWriter) {
    guard !indices.isEmpty else { return }
    writer.write(UInt64(parameter), parameterBits)
    let mask = 1 << parameter - 1
    var next = 0
    for index in indices {
      let gap = Int(index) - next
      writer.writeUnary(gap >> parameter)
      writer.write(UInt64(gap & mask), parameter)
      next = Int(index) + 1
    }
  }

  /// Reads indices into all of `indices`; false if one is not below `bound`, or they end too early.
  static func read(
    into indices: UnsafeMutableBufferPointer<UInt32>, below bound: Int, from reader: inout BitReader
  ) -> Bool {
    guard !indices.isEmpty else { return true }
    let parameter = Int(reader.read(parameterBits))
    var next = 0
    for place in indices.indices {
      guard let (high, low) = reader.readUnary(andThen: parameter) else { return false }
      let index = next + high << parameter + low
      guard index < bound, !reader.hasOverrun else { return false }
      indices[place] = UInt32(index)
      next = index + 1
    }
    return true
  }
}
