internal import Buffers

/// The signed distance, in pixels, from the centre of each pixel to the nearest edge of the ink: negative inside.
///
/// Pixels are stored by rows, seven vectors of four in each. Every operation is correctly rounded by IEEE 754 (the only library
/// function is the square root), so that a picture has the same bytes on every machine.
struct GlyphCanvas {
  /// The number of rows and columns of the picture.
  static let side = 28
  /// Vectors of four pixels in the picture.
  static let vectorCount = side * side / 4
  private static let vectorsPerRow = side / 4

  private let distances: UnsafeMutablePointer<SIMD4<Float>>

  /// An empty canvas in `memory`, which has room for `vectorCount` vectors.
  init(_ memory: UnsafeMutablePointer<SIMD4<Float>>) {
    distances = memory
    memory.update(repeating: SIMD4(repeating: 1000), count: Self.vectorCount)
  }

  /// Inks a line with round ends; `reach` is how far from the edge of the ink distances still matter.
  func drawLine(from start: SIMD2<Float>, to end: SIMD2<Float>, radius: Float, reach: Float) {
    let margin = radius + reach
    let last = Float(Self.side) - 0.5
    let lowX = max(min(start.x, end.x) - margin, 0)
    let lowY = max(min(start.y, end.y) - margin, 0)
    let highX = min(max(start.x, end.x) + margin, last)
    let highY = min(max(start.y, end.y) + margin, last)
    guard lowX < highX, lowY < highY else { return }
    let along = end - start
    let squaredLength = along.x * along.x + along.y * along.y
    let perLength = along * (1 / max(squaredLength, 1e-6))
    let columns = SIMD4<Float>(0.5, 1.5, 2.5, 3.5)
    let (zero, one) = (SIMD4<Float>(repeating: 0), SIMD4<Float>(repeating: 1))
    for row in Int(lowY)...Int(highY) {
      let y = Float(row) + 0.5 - start.y
      for vector in Int(lowX) >> 2...Int(highX) >> 2 {
        let x = columns + (Float(vector * 4) - start.x)
        // The nearest point of the line, as a fraction of its length.
        var fraction = x * perLength.x + y * perLength.y
        fraction.replace(with: zero, where: fraction .< zero)
        fraction.replace(with: one, where: fraction .> one)
        let dx = x - fraction * along.x
        let dy = y - fraction * along.y
        let distance = (dx * dx + dy * dy).squareRoot() - radius
        let place = row * Self.vectorsPerRow + vector
        distances[place].replace(with: distance, where: distance .< distances[place])
      }
    }
  }

  /// Inks a smooth curve from `b` to `c`, whose neighbours are `a` and `d`: a span of a Catmull–Rom spline, as four lines.
  func drawCurve(
    _ a: SIMD2<Float>, _ b: SIMD2<Float>, _ c: SIMD2<Float>, _ d: SIMD2<Float>, radius: Float, reach: Float
  ) {
    let linear = (c - a) * 0.5
    let square = a - b * 2.5 + c * 2 - d * 0.5
    let cube = (d - a) * 0.5 + (b - c) * 1.5
    var from = b
    for step in 1...4 {
      let t = Float(step) * 0.25
      let to = b + (linear + (square + cube * t) * t) * t
      drawLine(from: from, to: to, radius: radius, reach: reach)
      from = to
    }
  }

  /// Writes the picture as bytes, with noise.
  ///
  /// A pixel is `ink` where the distance is negative and 0 far away, with a ramp of `softness` pixels between.
  ///
  /// - Parameters:
  ///   - pixels: room for side × side bytes.
  ///   - ink: the value of full ink, up to 255.
  ///   - softness: the width of the ramp, centred on the edge.
  ///   - noiseAmplitude: the largest noise of a pixel.
  ///   - noise: random words of sixteen quads, from the given one on, in four vectors; the four words of quad q hold the bytes of pixels
  ///     16 q to 16 q + 15.
  func write(
    to pixels: UnsafeMutablePointer<UInt8>, ink: Float, softness: Float, noiseAmplitude: Float,
    noise: (Int) -> (Philox.Words, Philox.Words, Philox.Words, Philox.Words)
  ) {
    let perSoftness = 1 / softness
    let perByte = noiseAmplitude / 127.5
    let (zero, one) = (SIMD4<Float>(repeating: 0), SIMD4<Float>(repeating: 1))
    let highest = SIMD4<Float>(repeating: 255)
    // Adding 2²³ rounds to a whole number, which is then in the low bits; the reverse makes floats of bytes.
    let magic: Float = 0x1p23
    var block = noise(0)
    for quad in 0..<Self.vectorCount / 4 {
      let place = quad % Philox.Words.scalarCount
      if place == 0 && quad > 0 { block = noise(quad) }
      var words = SIMD4(block.0[place], block.1[place], block.2[place], block.3[place])
      for vector in quad * 4..<quad * 4 + 4 {
        let byte = unsafeBitCast(words & 0xFF | magic.bitPattern, to: SIMD4<Float>.self) - magic
        words = words &>> 8
        var coverage = 0.5 - distances[vector] * perSoftness
        coverage.replace(with: zero, where: coverage .< zero)
        coverage.replace(with: one, where: coverage .> one)
        var value = coverage * ink + (byte - 127.5) * perByte
        value.replace(with: zero, where: value .< zero)
        value.replace(with: highest, where: value .> highest)
        let bits = unsafeBitCast(value + magic, to: SIMD4<UInt32>.self)
        for lane in 0..<4 { pixels[vector * 4 + lane] = UInt8(truncatingIfNeeded: bits[lane]) }
      }
    }
  }
}
