internal import CKernels

/// Where a batch of whole blocks of the family `block` lies in every row, and with which signs: what the vector loops work from.
struct BlockPlaces {
  let rows: Int
  let columns: Int
  /// The values of a block.
  let length: Int
  /// How many blocks there are.
  let count: Int
  /// The first cell of block b in row j is starts[b·rows + j].
  let starts: UnsafePointer<UInt32>
  /// Its words of signs begin at signs[words·(b·rows + j)].
  let signs: UnsafePointer<UInt64>

  /// The values of blocks that are prepared at a time: what is prepared stays in the nearest cache.
  static let mostValues = 1 << 14

  /// The words of signs of a block.
  var words: Int { length / 64 }

  func insert(_ values: UnsafePointer<Float>, into table: UnsafeMutablePointer<Float>) {
    if let kernels = ck_table() {
      return kernels.pointee.sketch_insert(table, rows, columns, length, starts, signs, count, values)
    }
    Portable.sketchInsert(values, at: self, into: table)
  }

  func query(_ table: UnsafePointer<Float>, into estimates: UnsafeMutablePointer<Float>) {
    if let kernels = ck_table() {
      return kernels.pointee.sketch_query(table, rows, columns, length, starts, signs, count, estimates)
    }
    Portable.sketchQuery(table, at: self, into: estimates)
  }
}

extension SketchHashes {
  /// Calls `body` for batches of `count` blocks from `first` on; its second argument counts the blocks before.
  func forEachBatch(of count: Int, from first: Int, _ body: (BlockPlaces, Int) -> Void) {
    let (most, words) = (BlockPlaces.mostValues / blockLength, blockLength / 64)
    let room = min(count, most) * rows
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: (words + 2) * room) { memory in
      let (signs, keys) = (memory.baseAddress!, memory.baseAddress! + words * room)
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: room) { starts in
        for start in stride(from: 0, to: count, by: most) {
          let batch = min(most, count - start)
          for j in 0..<rows {
            let polynomials = polynomials[j]
            for b in 0..<batch {
              let hash = BlockHash(polynomials, block: first + start + b, columns: columns)
              let place = b * rows + j
              starts[place] = UInt32(truncatingIfNeeded: hash.start)
              (keys[2 * place], keys[2 * place + 1]) = (hash.key, hash.flips)
            }
          }
          if let kernels = ck_table() {
            kernels.pointee.sketch_signs(keys, batch * rows, words, signs)
          } else {
            Portable.sketchSigns(keys, batch * rows, words, signs)
          }
          body(
            BlockPlaces(
              rows: rows, columns: columns, length: blockLength, count: batch, starts: UnsafePointer(starts.baseAddress!),
              signs: UnsafePointer(signs)), start)
        }
      }
    }
  }
}
