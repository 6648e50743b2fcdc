internal import Kernels

extension CountSketch {
  /// Writes the estimates of the indices first ..< first + count; none is −0.
  ///
  /// - Cost: r reads and a median per value; whole blocks of the family `block` with `Float` cells go by vectors.
  @specialized(where Cell == Float)
  @specialized(where Cell == Double)
  @specialized(where Cell == Int64)
  public func estimate(_ estimates: UnsafeMutablePointer<Cell>, count: Int, at first: Int = 0) {
    defer { withExtendedLifetime(self) {} }
    var done = 0
    while done < count {
      let index = first + done
      let wholeBlocks = index % hashes.blockLength == 0 ? (count - done) / hashes.blockLength : 0
      if Cell.self == Float.self, hashes.family == .block, wholeBlocks > 0 {
        let floats = UnsafeMutableRawPointer(estimates + done).assumingMemoryBound(to: Float.self)
        let cells = UnsafeRawPointer(table.baseAddress!).assumingMemoryBound(to: Float.self)
        hashes.forEachBatch(of: wholeBlocks, from: index / hashes.blockLength) { places, start in
          places.query(cells, into: floats + start * hashes.blockLength)
        }
        done += wholeBlocks * hashes.blockLength
      } else {
        let run = hashes.run(from: index, atMost: count - done)
        estimateRun(estimates + done, count: run, at: index)
        done += run
      }
    }
  }

  /// The estimate of the value at `index`; never −0.
  public func estimate(at index: Int) -> Cell {
    defer { withExtendedLifetime(self) {} }
    let terms = (0..<rows).map { j in
      let cell = table[j * columns + hashes.cell(index, row: j)]
      return hashes.isNegative(index, row: j) ? 0 - cell : cell
    }
    return terms.sorted()[rows / 2] + 0
  }

  /// Estimates in one block, one by one.
  @inline(__always)
  private func estimateRun(_ estimates: UnsafeMutablePointer<Cell>, count: Int, at first: Int) {
    withUnsafeTemporaryAllocation(of: Cell.self, capacity: rows * count) { terms in
      hashes.withRun(from: first, count: count) { run in
        for j in 0..<rows {
          run.fill(row: j)
          let row = table.baseAddress! + j * columns
          withUnsafeTemporaryAllocation(of: Cell.self, capacity: 2) { factors in
            (factors[0], factors[1]) = (1, -1)
            for e in 0..<count { terms[e * rows + j] = row[Int(run.cells[e])] * factors[run.signBit(e)] }
          }
        }
      }
      for e in 0..<count { estimates[e] = median(terms.baseAddress! + e * rows) + 0 }
    }
  }

  /// The middle one of r numbers, without a branch on any: the largest rises to the end in each pass, until the middle one has.
  @inline(__always)
  private func median(_ numbers: UnsafeMutablePointer<Cell>) -> Cell {
    var end = rows - 1
    while end > 0, end >= rows / 2 {
      var largest = numbers[0]
      for j in 0..<end {
        let next = numbers[j + 1]
        numbers[j] = next < largest ? next : largest
        largest = next < largest ? largest : next
      }
      numbers[end] = largest
      end -= 1
    }
    return numbers[rows / 2]
  }
}
