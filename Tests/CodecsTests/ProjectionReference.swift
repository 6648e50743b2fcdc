import Buffers

/// A random projection by its definition, in fp64: every entry of the matrix by itself.
struct ProjectionReference {
  /// The rows of the matrix: the first value of a piece, its entries, and the number of rows of the piece.
  private var rows: [(first: Int, entries: [Double], rowCount: Int)] = []
  private let count: Int

  /// The matrix of a group of `count` values whose random numbers begin at `start`, if each piece of N has `share(N)` rows.
  init(start: UInt32, count: Int, share: (Int) -> Int) {
    self.count = count
    var first = 0
    for size in (0...16).reversed().map({ 1 << $0 }) where count & size != 0 {
      let random = Philox(seed: UInt64(start), purpose: .projection, stream: rows.count)
      var left = Array(0..<size)
      let drawn = (0..<share(size)).map { place in
        let other = place + Int((Double(random.word(place)) * 0x1p-32 * Double(size - place)).rounded(.down))
        left.swapAt(place, other)
        return left[place]
      }
      let signs = (0..<size).map { random.word($0 / 32, tensor: 1) >> UInt32($0 % 32) & 1 == 1 ? -1.0 : 1.0 }
      for row in drawn {
        rows.append((first, (0..<size).map { (row & $0).nonzeroBitCount % 2 == 0 ? signs[$0] : -signs[$0] }, drawn.count))
      }
      first += size
    }
  }

  /// z of a group.
  func sent(_ v: [Float], isScaled: Bool) -> [Double] {
    rows.map { row in
      let sum = row.entries.enumerated().reduce(0.0) { $0 + $1.element * Double(v[row.first + $1.offset]) }
      return sum / Double(isScaled ? row.rowCount : row.entries.count)
    }
  }

  /// y of z.
  func arriving(_ z: [Double]) -> [Double] {
    var y = [Double](repeating: 0, count: count)
    for (row, value) in zip(rows, z) {
      for (i, entry) in row.entries.enumerated() { y[row.first + i] += entry * value }
    }
    return y
  }
}
