import Buffers
import Datasets
import Testing

@Suite struct GlyphsTests {
  private func draw(_ index: Int, of split: Split = .train, seed: UInt64 = 1) -> (pixels: [UInt8], digit: Int) {
    var pixels = [UInt8](repeating: 0, count: 784)
    let digit = drawGlyph(index, of: split, seed: seed, into: &pixels)
    return (pixels, digit)
  }

  @Test func firstHundredAreTheSameBytesOnEveryMachine() {
    let bytes = (0..<100).flatMap { index in
      let (pixels, digit) = draw(index)
      return pixels + [UInt8(digit)]
    }
    #expect(bytes.withUnsafeBytes { XXHash64.hash($0) } == 4_302_765_104_590_399_670)
  }

  @Test func areAPureFunctionOfSeedSplitAndIndex() {
    let here = draw(12)
    _ = draw(13)
    #expect(draw(12) == here)
    #expect(draw(12, of: .test).pixels != here.pixels)
    #expect(draw(12, seed: 2).pixels != here.pixels)
    #expect(draw(13).pixels != here.pixels)
  }

  @Test func digitsAreBalanced() {
    var counts = [Int](repeating: 0, count: 10)
    for index in 0..<5000 { counts[draw(index).digit] += 1 }
    // 500 expected of each; five standard deviations of the binomial are 106.
    #expect(counts.allSatisfy { abs($0 - 500) < 106 })
  }

  @Test func everyGlyphHasInkAndGround() {
    for index in 0..<1000 {
      let (pixels, digit) = draw(index, of: .test)
      let inked = pixels.count { $0 > 120 }
      #expect(inked > 15 && inked < 400, "sample \(index), a \(digit), has \(inked) dark pixels")
    }
  }

  @Test func digitsDifferMoreThanNoise() {
    // The mean pictures of two digits are far apart in terms of a picture's range.
    var means = [[Double]](repeating: [Double](repeating: 0, count: 784), count: 10)
    var counts = [Double](repeating: 0, count: 10)
    for index in 0..<3000 {
      let (pixels, digit) = draw(index)
      counts[digit] += 1
      for (place, pixel) in pixels.enumerated() { means[digit][place] += Double(pixel) }
    }
    for digit in 0..<10 { means[digit] = means[digit].map { $0 / counts[digit] } }
    for first in 0..<10 {
      for second in 0..<first {
        let distance = zip(means[first], means[second]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
        #expect(distance > 300, "the mean \(first) and the mean \(second) are \(distance) apart")
      }
    }
  }

  @Test func inputsAreStandardised() {
    let data = Glyphs(seed: 5)
    let batch = Minibatch(capacity: 2000, featureCount: 784)
    data.load(0..<2000, of: .train, into: batch)
    #expect(batch.count == 2000)
    let (mean, deviation) = moments(Array(batch.inputs.values))
    #expect(abs(mean) < 0.03 && abs(deviation - 1) < 0.03)
  }

  @Test func loadsTheSamplesAskedForInTheirOrder() {
    let data = Glyphs(seed: 9, trainCount: 50, testCount: 20)
    let (some, one) = (Minibatch(capacity: 4, featureCount: 784), Minibatch(capacity: 1, featureCount: 784))
    let indices: ArraySlice<Int32> = [9, 49, 0, 49][1...]
    data.load(indices, of: .train, into: some)
    #expect(some.count == 3)
    for (row, index) in indices.enumerated() {
      data.load([index], of: .train, into: one)
      #expect(some.labels[row] == one.labels[0])
      #expect(Array(some.inputs.values(in: row * 784..<(row + 1) * 784)) == Array(one.inputs.values))
    }
    #expect(data.count(.train) == 50 && data.count(.test) == 20 && data.utterances == nil)
    #expect(data.kind == .image(SampleShape(height: 28, width: 28, channels: 1)))
  }

  @Test func fingerprintTellsSeedsAndCountsApart() {
    let prints = [Glyphs(seed: 1), Glyphs(seed: 2), Glyphs(seed: 1, trainCount: 10), Glyphs(seed: 1, testCount: 10)].map(
      \.fingerprint)
    #expect(Set(prints).count == 4)
    #expect(Glyphs(seed: 1).fingerprint == prints[0])
  }
}

/// Mean and standard deviation in fp64.
func moments(_ values: [Float]) -> (mean: Double, deviation: Double) {
  let mean = values.reduce(0.0) { $0 + Double($1) } / Double(values.count)
  let variance = values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(values.count)
  return (mean, variance.squareRoot())
}
