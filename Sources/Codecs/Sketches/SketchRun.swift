internal import Buffers

/// The cells and signs of consecutive indices in one row, up to the end of their block.
///
/// One by one they would cost four multiplications each; a polynomial at consecutive indices needs only additions.
struct SketchRun {
  let hashes: SketchHashes
  let first: Int
  let count: Int
  /// The cell of each index.
  let cells: UnsafeMutablePointer<UInt32>
  /// Bit e % 64 of word e / 64 is 1 if index e is subtracted.
  let signs: UnsafeMutablePointer<UInt64>

  /// 1 if index e is subtracted, else 0.
  @inline(__always)
  func signBit(_ e: Int) -> Int { Int(truncatingIfNeeded: signs[e / 64] &>> UInt64(e % 64) & 1) }

  /// Computes the cells and signs in row `row`.
  func fill(row: Int) {
    switch hashes.family {
    case .mersenne61: fillByDifferences(hashes.polynomials[row])
    case .block: fillFromBlocks(hashes.polynomials[row])
    }
  }

  private func fillByDifferences(_ polynomials: Polynomials) {
    let columns = UInt64(hashes.columns)
    let step = polynomials.coefficients[0]
    let wrap = columns - Mersenne61.prime % columns
    var (x, cell) = (polynomials.affine(UInt64(first)), polynomials.affine(UInt64(first)) % columns)
    var d0 = polynomials.cubic(UInt64(first)), d1 = polynomials.cubic(UInt64(first) + 1)
    var d2 = polynomials.cubic(UInt64(first) + 2), d3 = polynomials.cubic(UInt64(first) + 3)
    (d3, d2, d1) = (Mersenne61.subtract(d3, d2), Mersenne61.subtract(d2, d1), Mersenne61.subtract(d1, d0))
    (d3, d2) = (Mersenne61.subtract(d3, d2), Mersenne61.subtract(d2, d1))
    d3 = Mersenne61.subtract(d3, d2)
    let stepCell = step % columns
    var word: UInt64 = 0
    for e in 0..<count {
      cells[e] = UInt32(truncatingIfNeeded: cell)
      word |= (d0 & 1 ^ 1) &<< UInt64(e % 64)
      if e % 64 == 63 || e == count - 1 {
        signs[e / 64] = word
        word = 0
      }
      // h(i + 1) = h(i) + a, less P unless it is below P; the cell follows it modulo c.
      x &+= step
      cell &+= stepCell
      if x >= Mersenne61.prime {
        x &-= Mersenne61.prime
        cell &+= wrap
      }
      if cell >= columns { cell &-= columns }
      if cell >= columns { cell &-= columns }
      (d0, d1, d2) = (Mersenne61.add(d0, d1), Mersenne61.add(d1, d2), Mersenne61.add(d2, d3))
    }
  }

  private func fillFromBlocks(_ polynomials: Polynomials) {
    let (columns, length) = (hashes.columns, hashes.blockLength)
    let (number, begin) = first.quotientAndRemainder(dividingBy: length)
    require(begin + count <= length, "a run lies in one block")
    let block = BlockHash(polynomials, block: number, columns: columns)
    var place = (block.start + begin) % columns
    for e in 0..<count {
      cells[e] = UInt32(truncatingIfNeeded: place)
      place += 1
      if place == columns { place = 0 }
    }
    // A word of the run consists of the end of one word of the block and the beginning of the next.
    let shift = UInt64(begin % 64)
    var next = block.signs(word: begin / 64)
    for word in 0..<(count + 63) / 64 {
      let current = next
      next = block.signs(word: begin / 64 + word + 1)
      signs[word] = shift == 0 ? current : current &>> shift | next &<< (64 - shift)
    }
  }
}

extension SketchHashes {
  /// The length of the run that begins at `index`, which ends with its block.
  func run(from index: Int, atMost count: Int) -> Int { min(count, blockLength - index % blockLength) }

  /// Calls `body` with room for the cells and signs of a run.
  @inline(__always)
  func withRun(from first: Int, count: Int, _ body: (SketchRun) -> Void) {
    let words = (count + 63) / 64
    withUnsafeTemporaryAllocation(byteCount: 4 * count + 8 * words, alignment: 8) { room in
      let signs = room.baseAddress!.bindMemory(to: UInt64.self, capacity: words)
      let cells = (room.baseAddress! + 8 * words).bindMemory(to: UInt32.self, capacity: count)
      body(SketchRun(hashes: self, first: first, count: count, cells: cells, signs: signs))
    }
  }
}
