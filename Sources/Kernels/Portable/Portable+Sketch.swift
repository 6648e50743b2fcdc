extension Portable {
  /// Calls `body` with the window of a block, which is a copy where it wraps around the end of the row; gives it back where
  /// `writes` says so.
  @inline(__always)
  private static func withWindow(
    _ row: UnsafeMutablePointer<Float>, _ columns: Int, _ length: Int, _ start: Int, writes: Bool,
    _ body: (UnsafeMutablePointer<Float>) -> Void
  ) {
    if start + length <= columns { return body(row + start) }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: length) { copy in
      let (window, head) = (copy.baseAddress!, columns - start)
      window.update(from: row + start, count: head)
      (window + head).update(from: row, count: length - head)
      body(window)
      guard writes else { return }
      (row + start).update(from: window, count: head)
      row.update(from: window + head, count: length - head)
    }
  }

  /// Sixteen values at `pointer`, with the sign of lane l changed where bit l is 1.
  @inline(__always)
  private static func flipped(_ pointer: UnsafePointer<Float>, _ bits: UInt16) -> Half {
    let pattern = UnsafeRawPointer(pointer).loadUnaligned(as: Bits.self)
    let sign = Bits.zero.replacing(with: Bits(repeating: 1 << 31), where: (Bits(repeating: UInt32(bits)) & weights) .!= .zero)
    return unsafeBitCast(pattern ^ sign, to: Half.self)
  }

  /// Writes the signs of blocks from pairs of a seed and a mask.
  static func sketchSigns(
    _ keys: UnsafePointer<UInt64>, _ count: Int, _ words: Int, _ signs: UnsafeMutablePointer<UInt64>
  ) {
    for place in 0..<count {
      for word in 0..<words {
        signs[words * place + word] = BlockSigns.word(word, of: keys[2 * place]) ^ keys[2 * place + 1]
      }
    }
  }

  /// Adds whole blocks of values to a table.
  static func sketchInsert(_ values: UnsafePointer<Float>, at blocks: BlockPlaces, into table: UnsafeMutablePointer<Float>) {
    for place in 0..<blocks.count * blocks.rows {
      let (b, j) = place.quotientAndRemainder(dividingBy: blocks.rows)
      let row = table + j * blocks.columns
      let x = values + b * blocks.length
      withWindow(row, blocks.columns, blocks.length, Int(blocks.starts[place]), writes: true) { window in
        for i in 0..<blocks.length / 16 {
          let bits = UInt16(truncatingIfNeeded: blocks.signs[blocks.words * place + i / 4] &>> UInt64(i % 4 * 16))
          let sum = UnsafeRawPointer(window + 16 * i).loadUnaligned(as: Half.self) + flipped(x + 16 * i, bits)
          UnsafeMutableRawPointer(window + 16 * i).storeBytes(of: sum, as: Half.self)
        }
      }
    }
  }

  @inline(__always)
  private static func lesser(_ a: Half, _ b: Half) -> Half { b.replacing(with: a, where: a .< b) }
  @inline(__always)
  private static func greater(_ a: Half, _ b: Half) -> Half { b.replacing(with: a, where: a .> b) }

  /// Writes the medians of whole blocks.
  static func sketchQuery(_ table: UnsafePointer<Float>, at blocks: BlockPlaces, into estimates: UnsafeMutablePointer<Float>) {
    let (rows, length) = (blocks.rows, blocks.length)
    withUnsafeTemporaryAllocation(of: Half.self, capacity: rows * length / 16) { terms in
      for b in 0..<blocks.count {
        for j in 0..<rows {
          let place = b * rows + j
          let row = UnsafeMutablePointer(mutating: table + j * blocks.columns)
          withWindow(row, blocks.columns, blocks.length, Int(blocks.starts[place]), writes: false) { window in
            for i in 0..<length / 16 {
              let bits = UInt16(truncatingIfNeeded: blocks.signs[blocks.words * place + i / 4] &>> UInt64(i % 4 * 16))
              terms[i * rows + j] = flipped(window + 16 * i, bits)
            }
          }
        }
        for i in 0..<length / 16 {
          let sum = median(terms.baseAddress! + i * rows, rows) + Half.zero
          UnsafeMutableRawPointer(estimates + b * length + 16 * i).storeBytes(of: sum, as: Half.self)
        }
      }
    }
  }

  /// The middle one of r numbers in each lane: the largest rises to the end in each pass, until the middle one has.
  @inline(__always)
  private static func median(_ terms: UnsafeMutablePointer<Half>, _ rows: Int) -> Half {
    var end = rows - 1
    while end > 0, end >= rows / 2 {
      for j in 0..<end {
        let (a, b) = (terms[j], terms[j + 1])
        (terms[j], terms[j + 1]) = (lesser(a, b), greater(a, b))
      }
      end -= 1
    }
    return terms[rows / 2]
  }
}
