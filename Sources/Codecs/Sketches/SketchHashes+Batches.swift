internal import Kernels

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
          BlockSigns.write(from: keys, count: batch * rows, words: words, to: signs)
          body(
            BlockPlaces(
              rows: rows, columns: columns, length: blockLength, count: batch, starts: UnsafePointer(starts.baseAddress!),
              signs: UnsafePointer(signs)), start)
        }
      }
    }
  }
}
