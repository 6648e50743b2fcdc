import Buffers
import Codecs
import Kernels
import Testing

/// Every path gives the same bits.
///
/// The choice of the path is one for the process, so these tests run one after another.
@Suite(.serialized) struct KernelPathTests {
  static let counts = Array(0...200) + [784, 1023, 1024, 1025, 4096]

  /// What `body` gives on every path, which must be equal.
  func compare<Value: Equatable>(_ what: String, _ body: () -> Value) {
    let path = KernelPath.current
    defer { KernelPath.select(path) }
    let results = KernelPath.available.map { path in
      KernelPath.select(path)
      return (path, body())
    }
    for (path, result) in results.dropFirst() { #expect(result == results[0].1, "\(what): \(path) differs from portable") }
  }

  @Test("one-bit codes, residuals and values", arguments: Gradients.allCases)
  func oneBit(family: Gradients) {
    let codec = OneBit()
    for count in Self.counts {
      let (gradient, residual) = (family.values(count), Gradients.normal.values(count, seed: 5))
      compare("\(count) values") {
        // Three steps, so that differences in the residual would show in the next code.
        var (result, rest): ([[UInt32]], [Float]) = ([], residual)
        for _ in 0..<3 {
          let encoded = codec.encode(gradient, residual: rest)
          rest = encoded.residual
          result += [encoded.code, rest.patterns, codec.decode(encoded.code, count: count).patterns]
          result += [1, 4, 15].map { codec.decode(encoded.code, count: count, streaming: true, offset: $0).patterns }
          result.append(codec.decode(encoded.code, adding: gradient).patterns)
        }
        let codes = (0..<5).map { codec.encode(family.values(count, seed: $0), residual: residual).code }
        result.append(codec.decodeSum(codes, count: count).patterns)
        return result
      }
    }
  }

  @Test(
    "codes of every magnitude",
    arguments: ["one-bit", "multi-bit:bits=2", "multi-bit:bits=8", "multi-bit:bits=16", "none", "chunk-top-k"]
      + ["rotated", "rotated:bits=2", "rotated:bits=4", "rotated:bits=4,scale=unbiased,feedback=1"]
      + ["ef-sign", "terngrad", "qsgd", "natural", "nuqsgd", "bf16", "fp16", "e3m0", "uniform", "codebook", "fixed-threshold"]
      + ["projection:k=1/8"]
      + CodecLawTests.scalar)
  func magnitudes(name: String) throws {
    let codec = try codecs.make(name)
    for magnitude in Magnitudes.all {
      for count in Magnitudes.counts {
        let gradient = Magnitudes.values(count, of: magnitude, .mixed)
        compare("\(count) values of \(magnitude)") {
          let encoded = codec.encode(gradient, residual: Magnitudes.values(count, of: magnitude, .even, seed: 5))
          let values = codec.decode(encoded.code, count: count)
          let (sum, added) = (
            codec.decodeSum([encoded.code, encoded.code], count: count), codec.decode(encoded.code, adding: gradient)
          )
          return [
            [encoded.isFinite ? 1 : 0], encoded.code, encoded.residual.patterns, values.patterns, sum.patterns, added.patterns,
          ]
        }
      }
    }
  }

  @Test("one-bit refuses what is not finite")
  func refusal() {
    for count in [3, 33, 64, 100] {
      for value in [Float.nan, .infinity] {
        var gradient = Gradients.normal.values(count)
        gradient[count - 1] = value
        let residual = Gradients.normal.values(count, seed: 2)
        compare("\(count) values") {
          let encoded = OneBit().encode(gradient, residual: residual)
          return [[encoded.isFinite ? 1 : 0], encoded.code, encoded.residual.patterns]
        }
      }
    }
  }

  @Test("sums, copies and additions")
  func sums() {
    for count in Self.counts {
      let terms = (0..<5).map { Gradients.wide.values(count + 3, seed: $0) }
      compare("\(count) values") {
        var result: [[UInt32]] = []
        for offset in [0, 3] {
          for streaming in [false, true] {
            var values = [Float](repeating: 7, count: count + offset)
            let buffers = terms.map { UnsafeMutableBufferPointer<Float>.allocate(capacity: $0.count) }
            for (buffer, term) in zip(buffers, terms) { _ = buffer.initialize(from: term) }
            defer { for buffer in buffers { buffer.deallocate() } }
            let pointers = buffers.map { UnsafePointer($0.baseAddress!) }
            values.withUnsafeMutableBufferPointer { values in
              let base = values.base + offset
              orderedSum(pointers, termCount: 5, count: count, into: base, streaming: streaming)
              result.append(Array(values).patterns)
              copy(pointers[1] + 1, count: count, to: base, streaming: streaming)
              result.append(Array(values).patterns)
              add(pointers[2] + 2, count: count, to: base)
              result.append(Array(values).patterns)
            }
          }
        }
        return result
      }
    }
  }

  @Test(
    "updates",
    arguments: [
      DescentStep(rate: 0.1), DescentStep(rate: 0.3, decay: 0.01), DescentStep(rate: 0.1, momentum: 0.9),
      DescentStep(rate: 0.1, momentum: 0.9, gain: 0.1, decay: 0.3), DescentStep(rate: 0.07, momentum: 0.9, isNesterov: true),
      DescentStep(rate: 0.07, momentum: 0.95, gain: 0.05, decay: 1e-4, isNesterov: true),
    ])
  func updates(step: DescentStep) {
    for count in Self.counts {
      let (start, gradient, momenta) = (
        Gradients.normal.values(count), Gradients.wide.values(count, seed: 2), Gradients.normal.values(count, seed: 3)
      )
      compare("\(count) values") {
        var (w, u) = (start, momenta)
        w.withUnsafeMutableBufferPointer { w in
          u.withUnsafeMutableBufferPointer { u in
            gradient.withUnsafeBufferPointer { y in
              sgdUpdate(weights: w.base, gradient: y.base, momenta: step.momentum == 0 ? nil : u.base, count: count, step: step)
            }
          }
        }
        return [w.patterns, u.patterns]
      }
    }
  }

  @Test("steps of Adam", arguments: [0, 0.01] as [Float])
  func adam(decay: Float) {
    let step = AdamStep(
      rate: 0.1, meanKept: 0.9, meanGain: 0.1, squareKept: 0.999, squareGain: 0.001, epsilon: 1e-8, gradientScale: 2,
      gradientDecay: decay, rootScale: 3.7, shrinkage: decay / 2)
    for count in [0, 1, 15, 16, 17, 31, 32, 33, 1000] {
      for magnitude in Magnitudes.all {
        var gradient = Magnitudes.values(count + 3, of: magnitude, .mixed)
        if count > 5 { (gradient[3], gradient[5]) = (.infinity, -.infinity) }
        compare("\(count) values of \(magnitude)") {
          var (w, m) = (Gradients.normal.values(count + 3), Gradients.normal.values(count + 3, seed: 2))
          var v = Gradients.normal.values(count + 3, seed: 3).map(\.magnitude)
          for offset in [0, 3, 3] {
            w.withUnsafeMutableBufferPointer { w in
              m.withUnsafeMutableBufferPointer { m in
                v.withUnsafeMutableBufferPointer { v in
                  gradient.withUnsafeBufferPointer { y in
                    adamUpdate(
                      weights: w.base + offset, gradient: y.base + offset, means: m.base + offset, squares: v.base + offset,
                      count: count, step: step)
                  }
                }
              }
            }
          }
          return [w.patterns, m.patterns, v.patterns]
        }
      }
    }
  }

  @Test("codes of rotated groups", arguments: [1, 2, 4], Gradients.allCases)
  func rotated(bits: Int, family: Gradients) {
    for scale in Rotated.Scale.allCases {
      let codec = Rotated(bits: bits, grouping: .row, scale: scale)
      for count in Array(3...70) + [127, 129, 784, 1024, 1025, 4096] {
        let residual = Gradients.normal.values(count, seed: 5)
        compare("\(count) values") {
          let codes = (0..<3).map { codec.encode(family.values(count, seed: $0), residual: residual) }
          return codes.flatMap { [$0.code, $0.residual.patterns, codec.decode($0.code, count: count).patterns] }
            + [codec.decodeSum(codes.map(\.code), count: count).patterns]
        }
      }
    }
  }

  @Test("steps of Lion", arguments: [0, 0.01] as [Float])
  func lion(decay: Float) {
    var step = LionStep()
    (step.rate, step.shrinkage, step.gradientScale) = (0.1, decay, 2)
    for count in [0, 1, 15, 16, 17, 31, 32, 33, 1000] {
      for magnitude in Magnitudes.all {
        let gradient = Magnitudes.values(count, of: magnitude, .mixed)
        compare("\(count) values of \(magnitude)") {
          var (w, m) = (Gradients.normal.values(count), [Float](repeating: 0, count: count))
          for _ in 0..<2 {
            w.withUnsafeMutableBufferPointer { w in
              m.withUnsafeMutableBufferPointer { m in
                gradient.withUnsafeBufferPointer {
                  lionUpdate(weights: w.base, gradient: $0.base, means: m.base, count: count, step: step)
                }
              }
            }
          }
          return [w.patterns, m.patterns]
        }
      }
    }
  }

  @Test("corrections of late gradients, differences, and inner products", arguments: [1, .infinity] as [Float])
  func delays(clamp: Float) {
    let correction = DelayCorrection(lambda: 2, kept: 0.95, epsilon: 1e-7, clamp: clamp)
    for count in [0, 1, 15, 16, 17, 33, 1000] {
      for magnitude in Magnitudes.all {
        let start = Magnitudes.values(count, of: magnitude, .mixed)
        let (now, before) = (Gradients.normal.values(count), Gradients.wide.values(count, seed: 2))
        compare("\(count) values of \(magnitude)") {
          var (g, same, difference) = (start, start, now)
          var s = Gradients.normal.values(count, seed: 3).map(\.magnitude)
          g.withUnsafeMutableBufferPointer { g in
            s.withUnsafeMutableBufferPointer { s in
              correctDelay(g.base, now: now, before: before, squares: s.base, count: count, by: correction)
            }
          }
          same.withUnsafeMutableBufferPointer {
            correctDelay($0.base, now: now, before: before, squares: nil, count: count, by: correction)
          }
          difference.withUnsafeMutableBufferPointer { subtract(now, before, count: count, into: $0.base) }
          var moved = start
          moved.withUnsafeMutableBufferPointer { add(-0.3, times: now, count: count, to: $0.base) }
          let product = [innerProduct(start, now, count: count)]
          return [g.patterns, s.patterns, same.patterns, difference.patterns, moved.patterns, product.patterns]
        }
      }
    }
  }

  @Test("finiteness and sums of squares", arguments: Gradients.allCases)
  func reductions(family: Gradients) {
    for count in Self.counts {
      let values = family.values(count)
      compare("\(count) values") {
        values.withUnsafeBufferPointer { values in
          [sumOfSquares(values.base, count: count).bitPattern, allFinite(values.base, count: count, limit: 1) ? 1 : 0]
        }
      }
    }
  }

  @Test("tables of sketches and estimates", arguments: [1, 3, 5, 7, 21])
  func sketches(rows: Int) throws {
    for columns in [256, 1531, 16_384, 262_144] {
      let hashes = try SketchHashes(.block, rows: rows, columns: columns, seed: 8)
      for count in [255, 256, 4000, 9999, 17 * 1024] {
        let values = Gradients.wide.values(count + 3)
        compare("\(count) values in \(rows) × \(columns) cells") {
          let sketch = CountSketch<Float>(hashes)
          var estimates = [Float](repeating: 7, count: count + 3)
          for offset in [0, 3] {
            values.withUnsafeBufferPointer { sketch.insert($0.base + offset, count: count) }
            estimates.withUnsafeMutableBufferPointer { sketch.estimate($0.base + offset, count: count) }
          }
          return [sketch.cells.patterns, estimates.patterns]
        }
      }
    }
  }

  @Test("the largest of every magnitude, and sketches of them")
  func selectionOverMagnitudes() throws {
    let hashes = try SketchHashes(.block, rows: 5, columns: 512, seed: 8)
    for magnitude in Magnitudes.all {
      let values = Magnitudes.values(2048, of: magnitude / 2048, .mixed)
      compare("values of \(magnitude)") {
        let chosen = largestMagnitudes(values, count: 2048, k: 100)
        let sketch = CountSketch<Float>(hashes, of: values)
        return [chosen.indices, chosen.values.patterns, sketch.cells.patterns, sketch.estimates(2048).patterns]
      }
    }
  }

  @Test("the largest magnitudes", arguments: Gradients.allCases)
  func selection(family: Gradients) {
    for count in Self.counts + [100_000] {
      let values = family.values(count)
      for k in [1, count / 50, count / 3] {
        compare("\(k) of \(count) values") {
          let chosen = largestMagnitudes(values, count: count, k: k)
          return [chosen.indices, chosen.values.patterns]
        }
      }
    }
  }
}
