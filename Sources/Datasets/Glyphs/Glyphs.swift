public import Buffers

/// Pictures of digits, 28×28 bytes, drawn on demand.
///
/// Sample `index` of a split is a pure function of (seed, split, index): Philox at step = index, stream = split. Nothing is
/// stored, no rank draws more than it reads, and a picture has the same bytes on every machine. Drawing one takes about 5 µs.
public final class Glyphs: Dataset {
  public let specification: String
  public let featureCount = GlyphCanvas.side * GlyphCanvas.side
  public let kind = SampleForm.Kind.image(SampleShape(height: GlyphCanvas.side, width: GlyphCanvas.side, channels: 1))
  public let classCount = 10
  public let fingerprint: UInt64

  private let seed: UInt64
  private let counts: [Int]
  /// Mean and deviation of the pixels of the 60 000 training samples of seed 1: constants, so that no sample depends on others.
  private static let scale = PixelScale(mean: 34.80, deviation: 62.93)

  /// Digits drawn from `seed`.
  public init(seed: UInt64, trainCount: Int = 60_000, testCount: Int = 10_000, specification: String = "glyphs") {
    require(trainCount >= 0 && testCount >= 0, "a split has a count of samples")
    self.seed = seed
    self.specification = specification
    counts = [trainCount, testCount]
    var sample = [UInt8](repeating: 0, count: featureCount)
    var hashes = [seed, UInt64(trainCount), UInt64(testCount)]
    for split in Split.allCases {
      for index in 0..<4 {
        hashes.append(UInt64(drawGlyph(index, of: split, seed: seed, into: &sample)))
        hashes.append(hash(sample))
      }
    }
    fingerprint = combinedHash(hashes)
  }

  public func count(_ split: Split) -> Int { counts[split.rawValue] }

  public func label(_ index: Int, of split: Split) -> Int {
    var random = GlyphRandomness(seed: seed, split: split, index: index)
    return random.integer(below: 10)
  }

  public func read(
    _ index: Int, of split: Split, variation: Philox?, into inputs: UnsafeMutablePointer<Float>,
    labels: UnsafeMutablePointer<Int32>
  ) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: featureCount) { pixels in
      labels[0] = Int32(drawGlyph(index, of: split, seed: seed, into: pixels.baseAddress!))
      Self.scale.standardize(pixels.baseAddress!, count: featureCount, into: inputs)
    }
  }
}

/// Draws sample `index` of `split` as 784 bytes by rows, ink 255 on ground 0, and returns its digit.
package func drawGlyph(_ index: Int, of split: Split, seed: UInt64, into pixels: UnsafeMutablePointer<UInt8>) -> Int {
  var random = GlyphRandomness(seed: seed, split: split, index: index)
  let digit = random.integer(below: 10)
  let variants = glyphShapes[digit]
  let strokes = variants[random.integer(below: variants.count)]
  let hand = GlyphHand(&random)
  withUnsafeTemporaryAllocation(of: SIMD4<Float>.self, capacity: GlyphCanvas.vectorCount) { memory in
    let canvas = GlyphCanvas(memory.baseAddress!)
    for stroke in strokes { hand.draw(stroke, on: canvas, &random) }
    hand.scratch(on: canvas, &random)
    canvas.write(
      to: pixels, ink: hand.ink, softness: hand.softness, noiseAmplitude: hand.noiseAmplitude, noise: random.noise)
  }
  return digit
}
