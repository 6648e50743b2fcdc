import Buffers
import Codecs
import Testing

/// The laws of sketches, of choices by magnitude and of sparse codes, from denormal numbers to the edge of overflow.
///
/// Whatever the unit, a power of two, the same vector has the same sketch in that unit: everything here is compared with small
/// integers, which fp32 adds exactly.
@Suite struct SketchMagnitudeTests {
  /// Units for vectors of integers below 2¹⁰, whose sums over a row stay below 2¹⁶: the least number there is, and the largest sums.
  static let units: [Int] = [-149, -140, -126, -100, -30, 0, 40, 90, 111]

  private static func unit(_ exponent: Int) -> Float {
    exponent < -126 ? Float(bitPattern: 1 << UInt32(exponent + 149)) : Float(sign: .plus, exponent: exponent, significand: 1)
  }

  private static func integers(_ count: Int, seed: UInt64) -> [Float] {
    Gradients.normal.values(count, seed: seed).map { ($0 * 600).rounded() }
  }

  @Test("a sketch is the exact sum in any unit", arguments: SketchHashes.Family.allCases, units)
  func tables(family: SketchHashes.Family, exponent: Int) throws {
    let (count, unit) = (4000, Self.unit(exponent))
    let hashes = try SketchHashes(family, rows: 5, columns: 1100, seed: 3)
    let numbers = Self.integers(count, seed: 1)
    let exact = CountSketch<Int64>(hashes, of: numbers.map { Int64($0) })
    let sketch = CountSketch<Float>(hashes, of: numbers.map { $0 * unit })
    #expect(sketch.cells == exact.cells.map { Float($0) * unit })
    #expect(sketch.estimates(count) == exact.estimates(count).map { Float($0) * unit })
    #expect(sketch.squaredNorm() == exact.squaredNorm() * Double(unit) * Double(unit))
    // Linear: the sum of two sketches is that of the sum, and what was added can be taken away.
    let others = Self.integers(count, seed: 2)
    let (other, total) = (CountSketch<Float>(hashes, of: others.map { $0 * unit }), CountSketch<Float>(hashes))
    total.insert(zip(numbers, others).map { ($0 + $1) * unit }, count: count)
    sketch.add(other)
    #expect(sketch.cells == total.cells)
    sketch.subtract(other)
    #expect(sketch.cells == exact.cells.map { Float($0) * unit })
    // fp64 cells rounded to fp32 are the same.
    let rounded = CountSketch<Float>(hashes)
    rounded.round(from: CountSketch<Double>(hashes, of: numbers.map { Double($0 * unit) }))
    #expect(rounded.cells == exact.cells.map { Float($0) * unit })
  }

  @Test("what is heavy is heavy in any unit", arguments: units)
  func heavyValues(exponent: Int) throws {
    let (count, unit) = (4000, Self.unit(exponent))
    var numbers = Self.integers(count, seed: 4)
    for place in stride(from: 7, to: count, by: 97) { numbers[place] = place % 2 == 0 ? 30_000 : -30_000 }
    let hashes = try SketchHashes(.block, rows: 5, columns: 1100, seed: 3)
    let (plain, scaled) = (
      CountSketch<Float>(hashes, of: numbers), CountSketch<Float>(hashes, of: numbers.map { $0 * unit })
    )
    for k in [1, 40, 400] {
      let (expected, found) = (plain.largestEstimates(k, of: count), scaled.largestEstimates(k, of: count))
      #expect(found.indices == expected.indices && found.values == expected.values.map { $0 * unit }, "k = \(k)")
      #expect(scaled.heavyMix(k, of: count, seed: 5) == plain.heavyMix(k, of: count, seed: 5), "k = \(k)")
    }
  }

  @Test("the largest of all magnitudes, as sorting finds them", arguments: Magnitudes.all)
  func selection(magnitude: Float) {
    for count in Magnitudes.counts {
      let values = Magnitudes.values(count, of: magnitude, .mixed)
      for k in [1, count / 3, count] where k > 0 {
        let chosen = largestMagnitudes(values, count: count, k: k)
        let order = values.indices.filter { values[$0] != 0 }
          .sorted { (values[$1].magnitude, $0) < (values[$0].magnitude, $1) }.prefix(k).sorted()
        #expect(chosen.indices == order.map { UInt32($0) }, "\(k) of \(count)")
        #expect(chosen.values.patterns == order.map { values[$0].bitPattern }, "\(k) of \(count)")
        var search = MagnitudeSearch(k: k)
        while search.binCount != nil { search.narrow(by: search.counts(of: values)) }
        let all = SparseVector(indices: values.indices.map { UInt32($0) }, values: values)
        #expect(search.threshold.chosen(from: all) == chosen, "\(k) of \(count)")
      }
    }
  }

  @Test("a sparse code carries every value as it is", arguments: Magnitudes.all)
  func sparseCodes(magnitude: Float) throws {
    let count = 4096
    let vector = largestMagnitudes(Magnitudes.values(count, of: magnitude, .mixed), count: count, k: 100)
    let code = SparseCode(count: count)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: code.mostBytes(k: vector.count), alignment: 8)
    defer { memory.deallocate() }
    let length = code.encode(vector, into: memory.baseAddress!)
    let found = try code.decode(UnsafeRawBufferPointer(rebasing: memory[..<length]))
    #expect(found.indices == vector.indices && found.values.patterns == vector.values.patterns)
  }
}
