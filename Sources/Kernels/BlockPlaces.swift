internal import CKernels

/// Where a batch of whole blocks of a Count Sketch lies in every row, and with which signs: what the vector loops work from.
package struct BlockPlaces {
  let rows: Int
  let columns: Int
  /// The values of a block, a multiple of 128.
  let length: Int
  /// How many blocks there are.
  let count: Int
  /// The first cell of block b in row j is starts[b·rows + j].
  let starts: UnsafePointer<UInt32>
  /// Its words of signs begin at signs[words·(b·rows + j)].
  let signs: UnsafePointer<UInt64>

  /// The places of `count` blocks of `length` values in a table of at most 21 rows.
  package init(
    rows: Int, columns: Int, length: Int, count: Int, starts: UnsafePointer<UInt32>, signs: UnsafePointer<UInt64>
  ) {
    (self.rows, self.columns, self.length, self.count) = (rows, columns, length, count)
    (self.starts, self.signs) = (starts, signs)
  }

  /// The values of blocks that are prepared at a time: what is prepared stays in the nearest cache.
  package static let mostValues = 1 << 14

  /// The words of signs of a block.
  var words: Int { length / 64 }

  /// Adds the values of the blocks to a table.
  package func insert(_ values: UnsafePointer<Float>, into table: UnsafeMutablePointer<Float>) {
    if let kernels = ck_table() {
      return kernels.pointee.sketch_insert(table, rows, columns, length, starts, signs, count, values)
    }
    Portable.sketchInsert(values, at: self, into: table)
  }

  /// Writes the medians of the blocks in a table.
  package func query(_ table: UnsafePointer<Float>, into estimates: UnsafeMutablePointer<Float>) {
    if let kernels = ck_table() {
      return kernels.pointee.sketch_query(table, rows, columns, length, starts, signs, count, estimates)
    }
    Portable.sketchQuery(table, at: self, into: estimates)
  }
}

/// The signs of the values of blocks, a bit each, 64 in a word.
package enum BlockSigns {
  /// Number `number` of splitmix64 from the seed `key`.
  @inlinable @inline(__always)
  package static func word(_ number: Int, of key: UInt64) -> UInt64 {
    var z = key &+ UInt64(number + 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ z &>> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z &>> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z &>> 31
  }

  /// Writes the first `words` words for each of `count` pairs of a seed and a mask in `keys`, each exclusive-or the mask.
  package static func write(
    from keys: UnsafePointer<UInt64>, count: Int, words: Int, to signs: UnsafeMutablePointer<UInt64>
  ) {
    if let kernels = ck_table() { return kernels.pointee.sketch_signs(keys, count, words, signs) }
    Portable.sketchSigns(keys, count, words, signs)
  }
}
