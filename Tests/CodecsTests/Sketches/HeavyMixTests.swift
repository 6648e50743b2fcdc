import Buffers
import Codecs
import Testing

@Suite struct HeavyMixTests {
  let count = 5000

  private func sketch(_ x: [Float], columns: Int, seed: UInt64 = 1) throws -> CountSketch<Float> {
    CountSketch(try SketchHashes(.block, rows: 5, columns: columns, seed: seed), of: x)
  }

  /// The definition, line by line.
  private func reference(_ sketch: CountSketch<Float>, _ k: Int, seed: UInt64, step: Int) -> [UInt32] {
    let estimates = sketch.estimates(count)
    let energy = sketch.squaredNorm()
    if energy == 0 { return [] }
    var heavy = (0..<count).filter { Double(estimates[$0]) * Double(estimates[$0]) >= energy / Double(k) }
    heavy.sort { (estimates[$1].magnitude, $0) < (estimates[$0].magnitude, $1) }
    heavy = Array(heavy.prefix(k))
    let others = Set(0..<count).subtracting(heavy)
    let keys = others.map { e -> (UInt64, Int) in
      let counter = SIMD4<UInt32>(UInt32(e), 0, UInt32(step), 0x11 << 24)
      let x = Philox.block(counter: counter, key: SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(seed >> 32)))
      return (UInt64(x[0]) << 32 | UInt64(x[1]), e)
    }
    let fill = keys.sorted { $0 < $1 }.prefix(k - heavy.count).map(\.1)
    return (heavy + fill).sorted().map { UInt32($0) }
  }

  @Test("heavy estimates, filled up or cut off, by the definition")
  func definition() throws {
    for vector in [SketchedVectors.random, .powerLaw, .stride16, .oneHot, .equal] {
      let sketch = try sketch(vector.values(count), columns: 1100)
      for k in [1, 2, 7, 100, 2500, 4999] {
        for step in [0, 3] {
          #expect(sketch.heavyMix(k, of: count, seed: 5, step: step) == reference(sketch, k, seed: 5, step: step))
        }
      }
    }
  }

  @Test("nothing, everything, and a sketch of zeros")
  func edges() throws {
    let full = try sketch(SketchedVectors.random.values(count), columns: 1100)
    #expect(full.heavyMix(0, of: count, seed: 1) == [])
    #expect(full.heavyMix(count, of: count, seed: 1) == (0..<UInt32(count)).map { $0 })
    #expect(full.heavyMix(9 * count, of: count, seed: 1).count == count)
    let zeros = try sketch([Float](repeating: 0, count: count), columns: 1100)
    #expect(zeros.heavyMix(10, of: count, seed: 1) == [])
  }

  @Test("with c = 150 k every value of 2‖x‖²/k is among the candidates")
  func guarantee() throws {
    let k = 20
    for seed in 0..<20 {
      var x = Gradients.normal.values(count, seed: UInt64(seed))
      let heavy = (0..<5).map { $0 * 977 + seed }
      for i in heavy { x[i] = 0 }
      // Five values of v² = 2‖x‖²/k, where ‖x‖² has them in it.
      let value = (2 * norm(x) * norm(x) / (Double(k) - 10)).squareRoot() * 1.0001
      for i in heavy { x[i] = Float(i % 2 == 0 ? value : -value) }
      let chosen = Set(try sketch(x, columns: 150 * k, seed: UInt64(seed)).heavyMix(k, of: count, seed: 1))
      #expect(heavy.allSatisfy { chosen.contains(UInt32($0)) })
    }
  }

  @Test("the random fill takes every index equally often")
  func fill() throws {
    let flat = [Float](repeating: 1, count: 1000)
    let sketch = CountSketch<Float>(try SketchHashes(.block, rows: 5, columns: 1024, seed: 1), of: flat)
    let heavy = sketch.largestEstimates(50, of: 1000, atLeast: Float((sketch.squaredNorm() / 50).squareRoot()).bitPattern)
    var times = [Int](repeating: 0, count: 1000)
    let draws = 400
    for step in 0..<draws {
      for index in sketch.heavyMix(50, of: 1000, seed: 1, step: step) { times[Int(index)] += 1 }
    }
    let share = Double(50 - heavy.count) / Double(1000 - heavy.count)
    let deviation = (Double(draws) * share * (1 - share)).squareRoot()
    for i in 0..<1000 where !heavy.indices.contains(UInt32(i)) {
      #expect((Double(times[i]) - Double(draws) * share).magnitude <= 5 * deviation)
    }
  }
}

@Suite struct CountMinTests {
  @Test("counts are never too low, and rarely more than e/c of all too high")
  func bounds() throws {
    let (count, columns) = (3000, 200)
    var (whole, half) = (
      CountMin(try SketchHashes(rows: 5, columns: columns, seed: 1)),
      CountMin(try SketchHashes(rows: 5, columns: columns, seed: 1))
    )
    var times = [UInt64](repeating: 0, count: count)
    for i in 0..<count { times[i] = UInt64(3000 / (i + 1)) }
    for i in 0..<count {
      if i % 2 == 0 { whole.add(i, times: times[i]) } else { half.add(i, times: times[i]) }
    }
    whole.add(half)
    let total = times.reduce(0, +)
    var high = 0
    for i in 0..<count {
      #expect(whole.estimate(of: i) >= times[i])
      high += Double(whole.estimate(of: i) - times[i]) > Double(total) * 2.7183 / Double(columns) ? 1 : 0
    }
    #expect(Double(high) <= 0.0068 * Double(count))
    #expect(CountMin(whole.hashes).estimate(of: 5) == 0)
  }
}
