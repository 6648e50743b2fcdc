import Buffers
import Collectives
import Testing
import _TestSupport

/// Singular values and vectors against their definition, and the choice among them.
@Suite(.oneProcess) struct SingularValuesTests {
  private func draw(_ count: Int, seed: UInt64) -> [Double] {
    let random = Philox(seed: seed, purpose: .tests)
    return (0..<count).map { Double(random.uniform($0)) + Double(random.uniform($0, tensor: 1)) - 1 }
  }

  @Test func aKnownMatrix() {
    let found = SingularValues([3, 0, 4, 5], rows: 2, columns: 2).values
    #expect((found[0] - 45.0.squareRoot()).magnitude < 1e-12 && (found[1] - 5.0.squareRoot()).magnitude < 1e-12)
  }

  /// X v is as long as its value says, and different ones are orthogonal, as the vectors are.
  @Test(
    arguments: [(1, 7), (7, 1), (1, 1), (8, 8), (24, 40), (40, 24), (33, 65)],
    [1e-42, 1e-20, 1, 1e26] as [Double]) func vectorsAreOrthogonal(_ sides: (rows: Int, columns: Int), _ magnitude: Double)
  {
    let (rows, columns) = sides
    let x = draw(rows * columns, seed: 3).map { Float($0 * magnitude) }
    let found = SingularValues(x, rows: rows, columns: columns)
    let count = min(rows, columns)
    #expect(found.values.count == count && found.length == max(rows, columns))
    #expect(zip(found.values, found.values.dropFirst()).allSatisfy { $0 >= $1 })
    let vectors = (0..<count).map { index in (0..<found.length).map { found.entry($0, of: index) } }
    let products = vectors.map { vector in
      (0..<count).map { place in
        (0..<found.length).reduce(0.0) { sum, i in
          sum + Double(rows <= columns ? x[place * columns + i] : x[i * columns + place]) * vector[i]
        }
      }
    }
    func inner(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    for i in 0..<count {
      for j in 0...i {
        #expect((inner(vectors[i], vectors[j]) - (i == j ? 1 : 0)).magnitude < 1e-10)
        let expected = i == j ? found.values[i] * found.values[i] : 0
        #expect((inner(products[i], products[j]) - expected).magnitude < 1e-10 * found.values[0] * found.values[0])
      }
    }
    let squares = x.reduce(0.0) { $0 + Double($1) * Double($1) }
    #expect((found.values.reduce(0) { $0 + $1 * $1 } / squares - 1).magnitude < 1e-12)
  }

  @Test func whatIsNotThereIsZero() {
    let (rows, columns) = (20, 30)
    let (a, b) = (draw(2 * rows, seed: 5), draw(2 * columns, seed: 6))
    // Small whole numbers, so that nothing is rounded.
    let x = (0..<rows * columns).map { i in
      Float((8 * a[i / columns]).rounded() * (8 * b[i % columns]).rounded())
        + Float((8 * a[rows + i / columns]).rounded() * (8 * b[columns + i % columns]).rounded())
    }
    let found = SingularValues(x, rows: rows, columns: columns)
    #expect(found.values[1] > 0 && found.values.dropFirst(2).allSatisfy { $0 == 0 })
    #expect((0..<columns).allSatisfy { found.entry($0, of: 2) == 0 })
    let none = SingularValues([Float](repeating: 0, count: 12), rows: 3, columns: 4)
    #expect(none.values == [0, 0, 0])
  }

  @Test("the example of the specification")
  func probabilities() {
    #expect(SpectralFactors.probabilities([10, 1, 1, 1, 1], rank: 2) == [1, 0.25, 0.25, 0.25, 0.25])
    #expect(SpectralFactors.probabilities([3, 2, 0], rank: 2) == [1, 1, 0])
    #expect(SpectralFactors.probabilities([0, 0], rank: 1) == [0, 0])
    for rank in 1...5 {
      let p = SpectralFactors.probabilities([9, 7, 3, 2, 1, 0.5, 0.25, 0], rank: rank)
      #expect((p.reduce(0, +) - Double(rank)).magnitude < 1e-12 && p.allSatisfy { $0 >= 0 && $0 <= 1 })
      #expect(zip(p, p.dropFirst()).allSatisfy { $0 >= $1 } && p[7] == 0)
    }
  }

  @Test func asManyAreDrawnAndAsOftenAsTheyShould() {
    let p = SpectralFactors.probabilities([9, 7, 3, 2, 1, 0.5, 0.25, 0], rank: 3)
    let (random, draws) = (Philox(seed: 8, purpose: .tests), 40_000)
    var times = [Int](repeating: 0, count: p.count)
    for draw in 0..<draws {
      let chosen = SpectralFactors.draw(p, by: Double(random.uniform(draw)))
      #expect(chosen.count == 3)
      for index in chosen { times[index] += 1 }
    }
    for (index, p) in p.enumerated() {
      let error = 5 * (p * (1 - p) * Double(draws)).squareRoot() + 1e-6
      #expect((Double(times[index]) - p * Double(draws)).magnitude <= error, "value \(index)")
    }
    // At the ends, too.
    for random in [0, 0x1p-24, 1 - 0x1p-24] { #expect(SpectralFactors.draw(p, by: random).count == 3) }
  }
}
