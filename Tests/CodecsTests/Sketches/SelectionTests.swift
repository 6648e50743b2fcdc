import Buffers
import Codecs
import Testing

@Suite struct SelectionTests {
  /// The order: by magnitude, larger first, then by index; zeros are not there.
  static func sorted(_ values: [Float], _ k: Int) -> SparseVector {
    let order = values.indices.sorted { a, b in
      let (x, y) = (values[a].magnitude, values[b].magnitude)
      return x > y || x == y && a < b
    }
    let chosen = order.prefix(k).filter { values[$0] != 0 }.sorted()
    return SparseVector(indices: chosen.map { UInt32($0) }, values: chosen.map { values[$0] })
  }

  @Test("the k largest, against a sort", arguments: Gradients.allCases)
  func choice(family: Gradients) {
    for count in [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000, 5000] {
      let values = family.values(count)
      for k in [0, 1, 2, count / 10, count / 2, count - 1, count, count + 5] where k >= 0 {
        #expect(largestMagnitudes(values, count: count, k: k) == Self.sorted(values, k), "\(k) of \(count)")
      }
    }
  }

  @Test("the worked example")
  func example() {
    let first = largestMagnitudes([1, -1, 1, 0.5, 0], count: 5, k: 2)
    #expect(first == SparseVector(indices: [0, 1], values: [1, -1]))
    #expect(largestMagnitudes([0, 0, 1, 0.7, 0], count: 5, k: 2) == SparseVector(indices: [2, 3], values: [1, 0.7]))
    #expect(largestMagnitudes([0, -0.0, 0], count: 3, k: 2) == SparseVector())
  }

  @Test("long vectors, also those that ascend or repeat, in pieces of any length")
  func pieces() {
    let count = 200_000
    let noise = Gradients.normal.values(count)
    let vectors: [(String, [Float])] = [
      ("noise", noise), ("ascending", (0..<count).map { Float($0) }), ("descending", (0..<count).map { Float(count - $0) }),
      ("alternating and ascending", (0..<count).map { $0 % 2 == 0 ? Float($0) : -Float($0) }),
      ("few values", noise.map { ($0 * 4).rounded() }), ("all equal", [Float](repeating: -2, count: count)),
      ("the last ones", (0..<count).map { $0 < count - 3000 ? 1 : Float($0) }),
    ]
    for (name, values) in vectors {
      for k in [1, 100, 2000, 20_000] {
        let expected = Self.sorted(values, k)
        #expect(largestMagnitudes(values, count: count, k: k) == expected, "\(name), \(k)")
        var selection = LargestMagnitudes(k: k)
        var start = 0
        for length in [1, 0, 17, 4096, 5000, 63, count] {
          let end = min(count, start + length)
          selection.add(Array(values[start..<end]), count: end - start, at: start)
          start = end
        }
        let chosen = selection.chosen()
        #expect(chosen == expected, "\(name), \(k), in pieces")
      }
    }
  }

  @Test("a choice does not depend on the sample that suggests a limit")
  func misleadingSample() throws {
    // The sampled values are the largest ones, and fewer than are chosen.
    let count = 600_000
    var values = (0..<count).map { Float($0 % 1000 + 1) * 0x1p-12 }
    for n in 0..<LimitGuess.sampleCount { values[LimitGuess.place(n, of: LimitGuess.sampleCount, below: count)] = 1 }
    let k = 90_000
    #expect(largestMagnitudes(values, count: count, k: k) == Self.sorted(values, k))

    // The same with the sampled blocks of a sketch; with as many columns as values most estimates are exact.
    let hashes = try SketchHashes(.block, rows: 1, columns: count, seed: 1)
    var blocks = (0..<count).map { Float($0 % 1000 + 1) * 0x1p-12 }
    for n in 0..<64 {
      let start = 1024 * LimitGuess.place(n, of: 64, below: count / 1024)
      for i in start..<start + 1024 { blocks[i] = 1 }
    }
    let sketch = CountSketch<Float>(hashes, of: blocks)
    #expect(sketch.largestEstimates(250_000, of: count) == Self.sorted(sketch.estimates(count), 250_000))
  }

  @Test("only what reaches a limit")
  func limit() {
    let values = Gradients.normal.values(50_000)
    for limit: Float in [0.25, 0.9, 2] {
      for k in [10, 5000, 50_000] {
        var selection = LargestMagnitudes(k: k, atLeast: limit.bitPattern)
        selection.add(values, count: values.count, at: 0)
        let chosen = selection.chosen()
        #expect(chosen == Self.sorted(values.map { $0.magnitude >= limit ? $0 : 0 }, k))
      }
    }
  }

  @Test("the threshold over several places, against one sort", arguments: Gradients.allCases)
  func places(family: Gradients) {
    for (count, placeCount) in [(1, 1), (3, 4), (1000, 1), (1000, 3), (4001, 8)] {
      let values = family.values(count)
      let parts = Partition(count: count, into: placeCount).ranges
      for k in [1, 2, count / 7 + 1, count, count + 9] {
        // Each place keeps its own largest, counts, and takes its share.
        let mine = parts.map { largestMagnitudes(Array(values[$0]), count: $0.count, k: k) }
        var search = MagnitudeSearch(k: k)
        var rounds: [Int] = []
        while let bins = search.binCount {
          rounds.append(bins)
          search.narrow(
            by: mine.map { search.counts(of: $0.values) }.reduce([Int](repeating: 0, count: bins)) { zip($0, $1).map(+) })
        }
        #expect(rounds == Array([256, 256, 256, 128].prefix(rounds.count)))
        let threshold = search.threshold
        var (ties, chosen) = (0, SparseVector())
        for (part, candidates) in zip(parts, mine) {
          let piece = threshold.chosen(from: candidates, tiesBefore: ties)
          ties += threshold.tieCount(in: candidates.values)
          chosen.indices += piece.indices.map { $0 + UInt32(part.lowerBound) }
          chosen.values += piece.values
        }
        #expect(chosen == Self.sorted(values, k), "\(k) of \(count) at \(placeCount) places")
      }
    }
  }

  @Test("the largest estimates of a sketch are those of all estimates", arguments: SketchHashes.Family.allCases)
  func estimates(family: SketchHashes.Family) throws {
    let count = 30_000
    for vector in [SketchedVectors.random, .powerLaw, .oneHot] {
      let hashes = try SketchHashes(family, rows: 5, columns: 1500, seed: 6)
      let sketch = CountSketch<Float>(hashes, of: vector.values(count))
      for k in [1, 300, 3000, 40_000] {
        #expect(sketch.largestEstimates(k, of: count) == Self.sorted(sketch.estimates(count), k))
      }
    }
  }
}
