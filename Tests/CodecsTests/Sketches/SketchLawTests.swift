import Buffers
import Codecs
import Testing

/// The laws of a Count Sketch, for both families of hash functions.
@Suite struct SketchLawTests {
  @Test("integer tables add exactly, in any order and however a vector is cut", arguments: SketchHashes.Family.allCases)
  func linearity(family: SketchHashes.Family) throws {
    let hashes = try SketchHashes(family, rows: 5, columns: 257, seed: 9)
    let vectors = (0..<4).map { seed in Gradients.integers.values(3000, seed: UInt64(seed)).map { Int64($0) } }
    let sum = (0..<3000).map { i in vectors.reduce(0) { $0 + $1[i] } }
    let whole = CountSketch<Int64>(hashes, of: sum)

    for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
      let added = CountSketch<Int64>(hashes)
      for index in order { added.add(CountSketch<Int64>(hashes, of: vectors[index])) }
      #expect(added.cells == whole.cells)
    }
    let rest = CountSketch<Int64>(hashes)
    rest.copy(from: whole)
    for vector in vectors.dropFirst() { rest.subtract(CountSketch<Int64>(hashes, of: vector)) }
    #expect(rest.cells == CountSketch<Int64>(hashes, of: vectors[0]).cells)

    let pieces = CountSketch<Int64>(hashes)
    for (start, end) in [(0, 1), (1, 300), (300, 300), (300, 2048), (2048, 3000)] {
      pieces.insert(Array(sum[start..<end]), count: end - start, at: start)
    }
    #expect(pieces.cells == whole.cells)
    let single = CountSketch<Int64>(hashes)
    for (i, value) in sum.enumerated().reversed() { single.insert(value, at: i) }
    #expect(single.cells == whole.cells)
    whole.multiply(by: -3)
    #expect(whole.cells == CountSketch<Int64>(hashes, of: sum.map { -3 * $0 }).cells)
    whole.clear()
    #expect(whole.cells.allSatisfy { $0 == 0 } && whole.squaredNorm() == 0)
  }

  @Test("float tables add up to rounding", arguments: SketchHashes.Family.allCases)
  func roundedLinearity(family: SketchHashes.Family) throws {
    let (count, columns) = (5000, 1100)
    let hashes = try SketchHashes(family, rows: 3, columns: columns, seed: 4)
    let reference = ReferenceHashes(family, rows: 3, columns: columns, seed: 4)
    let (x, y) = (Gradients.normal.values(count), Gradients.wide.values(count, seed: 2))
    let sum = CountSketch<Float>(hashes, of: x)
    sum.add(CountSketch<Float>(hashes, of: y))
    let together = CountSketch<Float>(hashes, of: zip(x, y).map { $0 + $1 })
    var (loads, magnitudes) = ([Int](repeating: 0, count: 3 * columns), [Double](repeating: 0, count: 3 * columns))
    for j in 0..<3 {
      for i in 0..<count {
        let cell = j * columns + reference.cell(i, row: j)
        loads[cell] += 1
        magnitudes[cell] += Double(x[i].magnitude) + Double(y[i].magnitude)
      }
    }
    for cell in loads.indices {
      let difference = (Double(sum.cells[cell]) - Double(together.cells[cell])).magnitude
      #expect(difference <= Double(loads[cell] + 1) * 0x1p-24 * magnitudes[cell])
    }
  }

  @Test("estimates are unbiased", arguments: SketchHashes.Family.allCases)
  func unbiasedness(family: SketchHashes.Family) throws {
    let (count, columns, draws) = (2048, 256, 2000)
    let places = [0, 1, 100, 255, 256, 1500, 2047]
    for vector in [SketchedVectors.random, .stride16, .runs64, .equal] {
      let x = vector.values(count)
      var (sums, squares) = ([Double](repeating: 0, count: places.count), [Double](repeating: 0, count: places.count))
      for seed in 0..<draws {
        let sketch = CountSketch<Float>(try SketchHashes(family, rows: 1, columns: columns, seed: UInt64(seed)), of: x)
        for (n, i) in places.enumerated() {
          let error = Double(sketch.estimate(at: i)) - Double(x[i])
          sums[n] += error
          squares[n] += error * error
        }
      }
      for n in places.indices {
        let variance = squares[n] / Double(draws)
        #expect((sums[n] / Double(draws)).magnitude <= 5 * (variance / Double(draws)).squareRoot(), "\(vector) \(places[n])")
        // The variance of one row is at most ‖x‖²/c, here up to the scatter of its own estimate.
        #expect(variance <= 1.3 * norm(x) * norm(x) / Double(columns), "\(vector) \(places[n])")
      }
    }
  }

  @Test("two indices meet in one cell of c, whatever their distance", arguments: SketchHashes.Family.allCases)
  func collisions(family: SketchHashes.Family) throws {
    let (columns, draws) = (256, 4000)
    // The strides of rows of weights, the length of a block, and its neighbours.
    for distance in [1, 16, 64, 255, 256, 257, 1024, 65_536, 1_000_000] {
      for first in [0, 100, 255] {
        var (meetings, agreements) = (0, 0)
        for seed in 0..<draws / 5 {
          let hashes = try SketchHashes(family, rows: 5, columns: columns, seed: UInt64(seed), shard: distance % 64)
          for j in 0..<5 {
            meetings += hashes.cell(first, row: j) == hashes.cell(first + distance, row: j) ? 1 : 0
            agreements += hashes.isNegative(first, row: j) == hashes.isNegative(first + distance, row: j) ? 1 : 0
          }
        }
        let expected = Double(draws) / Double(columns)
        #expect(Double(meetings) <= expected + 5 * expected.squareRoot(), "distance \(distance) from \(first)")
        #expect((Double(agreements) - Double(draws) / 2).magnitude <= 2.5 * Double(draws).squareRoot())
        if family == .block, (first + distance) / 256 == first / 256 { #expect(meetings == 0) }
      }
    }
  }

  @Test("the median of five rows is off by 0.6‖x‖/√c at most, root mean square", arguments: SketchHashes.Family.allCases)
  func errors(family: SketchHashes.Family) throws {
    try checkErrors(family, count: 40_000, columns: 1031, draws: 20)
  }

  @Test("and so it is with the long blocks of wide sketches")
  func errorsOfLongBlocks() throws {
    try checkErrors(.block, count: 1 << 18, columns: 16_384, draws: 20)
  }

  @Test("and with the longest blocks of the widest")
  func errorsOfLongestBlocks() throws {
    try checkErrors(.block, count: 1 << 20, columns: 1 << 18, draws: 4)
  }

  private func checkErrors(_ family: SketchHashes.Family, count: Int, columns: Int, draws: Int) throws {
    for vector in SketchedVectors.allCases {
      let x = vector.values(count)
      let bound = norm(x) / Double(columns).squareRoot()
      var (squares, far, norms) = (0.0, 0, 0.0)
      for seed in 0..<draws {
        let sketch = CountSketch<Float>(try SketchHashes(family, rows: 5, columns: columns, seed: UInt64(seed + 100)), of: x)
        for (estimate, value) in zip(sketch.estimates(count), x) {
          let error = Double(estimate) - Double(value)
          squares += error * error
          far += error.magnitude > 2 * bound ? 1 : 0
        }
        norms += sketch.squaredNorm()
      }
      let total = Double(draws * count)
      #expect((squares / total).squareRoot() <= 0.6 * bound, "\(vector)")
      // The proof gives e^(−5/8) = 0.54; five rows of noise near a normal distribution do far better.
      #expect(Double(far) / total <= 0.02, "\(vector)")
      #expect((norms / Double(draws) / (norm(x) * norm(x)) - 1).magnitude <= 0.1, "\(vector)")
    }
  }

  @Test("a value of ten times the noise is always found", arguments: SketchHashes.Family.allCases)
  func heavyHitter(family: SketchHashes.Family) throws {
    let (count, columns) = (20_000, 1024)
    for seed in 0..<20 {
      var x = Gradients.normal.values(count, seed: UInt64(seed))
      let place = seed * 997 % count
      x[place] = 0
      x[place] = Float(10 * norm(x) / Double(columns).squareRoot()) * (seed % 2 == 0 ? -1 : 1)
      let sketch = CountSketch<Float>(try SketchHashes(family, rows: 5, columns: columns, seed: UInt64(seed)), of: x)
      #expect(sketch.largestEstimates(1, of: count).indices == [UInt32(place)])
    }
  }

  @Test("of heavy values at any stride, no more are missed or invented than of scattered ones")
  func strides() throws {
    try checkStrides(count: 1 << 19, columns: 1 << 19 / 20, heavies: 1024)
    try checkStrides(count: 1 << 22, columns: 1 << 18, heavies: 16_384)
  }

  private func checkStrides(count: Int, columns: Int, heavies: Int) throws {
    func faults(_ place: (Int) -> Int) throws -> Int {
      var x = [Float](repeating: 0, count: count)
      for n in 0..<heavies { x[place(n)] = n % 3 == 0 ? -1 : 1 }
      let hashes = try SketchHashes(.block, rows: 5, columns: columns, seed: 77)
      let estimates = CountSketch<Float>(hashes, of: x).estimates(count)
      return (0..<count).count { (estimates[$0] - x[$0]).magnitude > 0.5 }
    }
    let scattered = try faults { $0 * 7919 % count }
    for stride in [1, 16, 64, 256, 512] {
      #expect(try faults { $0 * stride % count } <= 2 * scattered + 100, "stride \(stride)")
    }
  }

  @Test("zeros, one column and rounding from fp64")
  func edges() throws {
    let hashes = try SketchHashes(rows: 3, columns: 1, seed: 1)
    let sketch = CountSketch<Float>(hashes, of: [1, 2, 3])
    #expect(sketch.cells.allSatisfy { [6, 4, 2, 0].contains($0.magnitude) })
    #expect(CountSketch<Float>(hashes, of: []).largestEstimates(5, of: 0) == SparseVector())

    for family in SketchHashes.Family.allCases {
      let hashes = try SketchHashes(family, rows: 5, columns: 1100, seed: 1)
      let zeros = CountSketch<Float>(hashes, of: [Float](repeating: -0.0, count: 1000))
      #expect(zeros.estimates(1000).patterns.allSatisfy { $0 == 0 })
      #expect(zeros.largestEstimates(10, of: 1000) == SparseVector())
      #expect(zeros.squaredNorm() == 0)

      let x = Gradients.normal.values(1000)
      let doubles = CountSketch<Double>(hashes, of: x.map(Double.init))
      let floats = CountSketch<Float>(hashes)
      floats.round(from: doubles)
      #expect(floats.cells.patterns == doubles.cells.map { Float($0) }.patterns)
      doubles.clear(at: 77)
      for j in 0..<5 { #expect(doubles.cells[j * 1100 + hashes.cell(77, row: j)] == 0) }
      #expect(doubles.estimate(at: 77) == 0 && doubles.cells.count { $0 != 0 } > 1000)
    }
  }

  @Test("sparse vectors go in and out")
  func sparse() throws {
    let hashes = try SketchHashes(.block, rows: 5, columns: 1100, seed: 1)
    let x = Gradients.integers.values(1000)
    let sketch = CountSketch<Float>(hashes, of: x)
    let vector = SparseVector(indices: [3, 500, 999], values: [8, -4, 2])
    sketch.subtract(vector)
    var rest = x
    for (i, value) in zip(vector.indices, vector.values) { rest[Int(i)] -= value }
    #expect(sketch.cells == CountSketch<Float>(hashes, of: rest).cells)
    sketch.insert(vector)
    #expect(sketch.cells == CountSketch<Float>(hashes, of: x).cells)
  }

  @Test("sizes that cannot be are refused in one sentence")
  func refusals() throws {
    for rows in [-1, 0, 2, 4, 23] {
      #expect(throws: SketchError.self) { try SketchHashes(rows: rows, columns: 100, seed: 1) }
    }
    let even = #expect(throws: SketchError.self) { try SketchHashes(rows: 4, columns: 100, seed: 1) }
    #expect(even?.description == "a sketch has an odd number of rows, 1 to 21, not 4: its estimate is a median")
    #expect(throws: SketchError.self) { try SketchHashes(rows: 5, columns: 0, seed: 1) }
    #expect(throws: SketchError.self) { try SketchHashes(.block, rows: 5, columns: 255, seed: 1) }

    let sizes = try SketchSizes(rows: 5, columns: Amount("1/20")!, k: Amount("0.001")!, of: 1_000_001)
    #expect(sizes.columns == 50_001 && sizes.k == 1001)
    #expect(try SketchSizes(rows: 1, columns: Amount(10), k: Amount("10")!, of: 10).k == 10)
    let wide = #expect(throws: SketchError.self) { try SketchSizes(rows: 1, columns: Amount(11), k: Amount(1), of: 10) }
    #expect(
      wide?.description == "a sketch of 10 values has at most 10 columns, not 11: it would be larger than the values")
    let many = #expect(throws: SketchError.self) { try SketchSizes(rows: 1, columns: Amount(2), k: Amount(11), of: 10) }
    #expect(many?.description == "of 10 values at most 10 are recovered, not k = 11")
    #expect(throws: SketchError.self) { try SketchSizes(rows: 2, columns: Amount(2), k: Amount(1), of: 10) }
    for text in ["", "0", "-1", "0.0", "1.5", "3/2", "1/0", "a", "1/2/3", "nan"] { #expect(Amount(text) == nil, "\(text)") }
  }
}
