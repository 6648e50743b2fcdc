internal import Kernels

extension CountSketch {
  /// Adds the values of the indices first ..< first + count.
  ///
  /// - Cost: r additions per value; whole blocks of the family `block` with `Float` cells go by vectors, at about the speed of
  ///   memory.
  @specialized(where Cell == Float)
  @specialized(where Cell == Double)
  @specialized(where Cell == Int64)
  public func insert(_ values: UnsafePointer<Cell>, count: Int, at first: Int = 0) {
    defer { withExtendedLifetime(self) {} }
    var done = 0
    while done < count {
      let index = first + done
      let wholeBlocks = index % hashes.blockLength == 0 ? (count - done) / hashes.blockLength : 0
      if Cell.self == Float.self, hashes.family == .block, wholeBlocks > 0 {
        let floats = UnsafeRawPointer(values + done).assumingMemoryBound(to: Float.self)
        let cells = UnsafeMutableRawPointer(table.baseAddress!).assumingMemoryBound(to: Float.self)
        hashes.forEachBatch(of: wholeBlocks, from: index / hashes.blockLength) { places, start in
          places.insert(floats + start * hashes.blockLength, into: cells)
        }
        done += wholeBlocks * hashes.blockLength
      } else {
        let run = hashes.run(from: index, atMost: count - done)
        insertRun(values + done, count: run, at: index)
        done += run
      }
    }
  }

  /// Adds `value` at `index`.
  public func insert(_ value: Cell, at index: Int) {
    defer { withExtendedLifetime(self) {} }
    for j in 0..<rows {
      let cell = j * columns + hashes.cell(index, row: j)
      if hashes.isNegative(index, row: j) { table[cell] -= value } else { table[cell] += value }
    }
  }

  /// Sets every cell that `index` goes to to zero, whatever else was added to it.
  public func clear(at index: Int) {
    defer { withExtendedLifetime(self) {} }
    for j in 0..<rows { table[j * columns + hashes.cell(index, row: j)] = 0 }
  }

  /// Adds values of one block one by one, row after row.
  @inline(__always)
  private func insertRun(_ values: UnsafePointer<Cell>, count: Int, at first: Int) {
    hashes.withRun(from: first, count: count) { run in
      for j in 0..<rows {
        run.fill(row: j)
        let row = table.baseAddress! + j * columns
        withUnsafeTemporaryAllocation(of: Cell.self, capacity: 2) { factors in
          // A factor is looked up, because a branch that cannot be foreseen costs more than all else here.
          (factors[0], factors[1]) = (1, -1)
          for e in 0..<count { row[Int(run.cells[e])] += values[e] * factors[run.signBit(e)] }
        }
      }
    }
  }
}

extension CountSketch where Cell == Float {
  /// Adds the values at their indices.
  public func insert(_ vector: SparseVector) {
    for (index, value) in zip(vector.indices, vector.values) { insert(value, at: Int(index)) }
  }

  /// Takes the values at their indices away.
  public func subtract(_ vector: SparseVector) {
    for (index, value) in zip(vector.indices, vector.values) { insert(-value, at: Int(index)) }
  }
}
