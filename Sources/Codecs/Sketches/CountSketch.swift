public import Buffers

/// A Count Sketch: r × c cells into which a vector of any length is added and from which its large values can be estimated.
///
/// It is a linear map: the sketch of a sum is the sum of the sketches, exactly with `Int64` cells and up to rounding with the
/// others, so that the sketches of ranks can be added before decoding.
///
///     insert    T[j][h_j(i)] += s_j(i)·x_i, for ascending i
///     estimate  x̂_i = median over j of s_j(i)·T[j][h_j(i)]
///     norm      ‖x‖² ≈ median over j of Σ_b T[j][b]²
///
/// One row's estimate is unbiased with a variance of at most ‖x‖²/c; the median of r rows is off by more than 2‖x‖/√c with
/// probability e^(−r/8) at most. The caller must keep NaN and infinities out: one of them spoils r cells for good.
///
/// The cells lie row by row without gaps and only in the table's memory, so that a table is sent, saved and added as a plain
/// array. Every insertion and every estimate gives the same bits on every processor.
///
/// Source: Charikar, Chen, Farach-Colton 2002, "Finding frequent items in data streams"; algorithms §2.1.
/// - Cost: 4rc bytes to send with `Float` cells, 8rc with the others.
public final class CountSketch<Cell: SketchCell>: @unchecked Sendable {
  /// The cells and signs of the indices.
  public let hashes: SketchHashes
  /// The cells, row by row; valid during the lifetime of this object, or of the memory it was given.
  public let table: UnsafeMutableBufferPointer<Cell>
  private let memory: ByteBuffer

  /// The number of rows.
  public var rows: Int { hashes.rows }
  /// The number of cells in a row.
  public var columns: Int { hashes.columns }

  /// The size in bytes of a table with these hashes.
  public static func byteCount(_ hashes: SketchHashes) -> Int { hashes.rows * hashes.columns * MemoryLayout<Cell>.stride }

  /// Creates the sketch of a zero vector, in memory of its own.
  public convenience init(_ hashes: SketchHashes) {
    self.init(hashes, in: ByteBuffer(count: Self.byteCount(hashes)))
  }

  /// Creates the sketch whose table lies in `memory`, for example received memory or memory that other ranks of the host read.
  public init(_ hashes: SketchHashes, in memory: ByteBuffer) {
    require(memory.count == Self.byteCount(hashes), "a table of \(Self.byteCount(hashes)) bytes, not \(memory.count)")
    self.hashes = hashes
    self.memory = memory
    let cells = memory.baseAddress.assumingMemoryBound(to: Cell.self)
    table = UnsafeMutableBufferPointer(start: cells, count: hashes.rows * hashes.columns)
  }

  // MARK: Linearity

  /// Sets all cells to zero.
  public func clear() { withExtendedLifetime(self) { table.update(repeating: 0) } }

  /// Adds the other sketch, giving the sketch of the sum.
  @specialized(where Cell == Float)
  @specialized(where Cell == Double)
  @specialized(where Cell == Int64)
  public func add(_ other: CountSketch) {
    let count = table.count
    withCells(of: other) { mine, others in
      for i in 0..<count { mine[i] += others[i] }
    }
  }

  /// Subtracts the other sketch, giving the sketch of the difference.
  @specialized(where Cell == Float)
  @specialized(where Cell == Double)
  @specialized(where Cell == Int64)
  public func subtract(_ other: CountSketch) {
    let count = table.count
    withCells(of: other) { mine, others in
      for i in 0..<count { mine[i] -= others[i] }
    }
  }

  /// Multiplies every cell, and so the sketched vector, by `factor`.
  @specialized(where Cell == Float)
  @specialized(where Cell == Double)
  @specialized(where Cell == Int64)
  public func multiply(by factor: Cell) {
    let (cells, count) = (table.baseAddress!, table.count)
    withExtendedLifetime(self) {
      for i in 0..<count { cells[i] *= factor }
    }
  }

  /// Becomes a copy of the other sketch.
  public func copy(from other: CountSketch) {
    withCells(of: other) { mine, others in mine.update(from: others, count: table.count) }
  }

  /// Calls `body` with both tables, which stay alive during the call.
  @inline(__always)
  private func withCells(of other: CountSketch, _ body: (UnsafeMutablePointer<Cell>, UnsafePointer<Cell>) -> Void) {
    require(hashes == other.hashes, "sketches with different hash functions do not add")
    withExtendedLifetime((self, other)) { body(table.baseAddress!, UnsafePointer(other.table.baseAddress!)) }
  }

  /// An estimate of ‖x‖²: the median of the rows' energies, summed in fp64.
  ///
  /// It is off by more than 2√2·‖x‖²/√c with probability at most e^(−r/8) (Alon, Matias, Szegedy 1996).
  @specialized(where Cell == Float)
  @specialized(where Cell == Double)
  @specialized(where Cell == Int64)
  public func squaredNorm() -> Double {
    defer { withExtendedLifetime(self) {} }
    let energies = (0..<rows).map { j in
      // Eight lanes in a fixed order give the same bits everywhere.
      let row = table.baseAddress! + j * columns
      var lanes = SIMD8<Double>.zero
      let whole = columns / 8 * 8
      for i in stride(from: 0, to: whole, by: 8) {
        var x = SIMD8<Double>.zero
        for lane in 0..<8 { x[lane] = row[i + lane].asDouble }
        lanes += x * x
      }
      for i in whole..<columns {
        let x = row[i].asDouble
        lanes[i - whole] += x * x
      }
      return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    }
    return energies.sorted()[rows / 2]
  }
}

extension CountSketch where Cell == Float {
  /// Becomes the other sketch with every cell rounded to fp32, from which an owner that adds in fp64 reads estimates.
  public func round(from other: CountSketch<Double>) {
    require(hashes == other.hashes, "sketches with different hash functions do not add")
    withExtendedLifetime((self, other)) {
      for i in table.indices { table[i] = Float(other.table[i]) }
    }
  }
}
