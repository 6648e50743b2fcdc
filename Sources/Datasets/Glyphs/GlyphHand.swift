/// How one glyph is written: the distortion, the pen and the paper.
struct GlyphHand {
  /// The value of full ink.
  let ink: Float
  /// The width of the edge of a stroke, in pixels.
  let softness: Float
  /// The largest noise of a pixel.
  let noiseAmplitude: Float
  private let radius: Float
  private let jitter: Float
  private let middle: SIMD2<Float>
  private let columns: (SIMD2<Float>, SIMD2<Float>)
  private let scratchCount: Int

  /// Draws a random hand.
  init(_ random: inout GlyphRandomness) {
    let height = 20 + 4 * random.symmetric()
    let width = height * (0.9 + 0.25 * random.symmetric())
    // A rotation by ±17°, by the tangent of half the angle: trigonometric functions differ in the last bits between machines.
    let tangent = 0.15 * random.symmetric()
    let cosine = (1 - tangent * tangent) / (1 + tangent * tangent)
    let sine = 2 * tangent / (1 + tangent * tangent)
    let shear = 0.3 * random.symmetric()
    columns = (
      SIMD2(cosine, sine) * width,
      (SIMD2(cosine, sine) * shear + SIMD2(-sine, cosine)) * height
    )
    middle = SIMD2(14 + 2.5 * random.symmetric(), 14 + 2.5 * random.symmetric())
    radius = 1.2 + 0.6 * random.symmetric()
    jitter = 0.08
    ink = 215 + 40 * random.symmetric()
    softness = 1.4 + 0.5 * random.symmetric()
    noiseAmplitude = 64 * random.uniform()
    scratchCount = random.integer(below: 3)
  }

  /// Draws a stroke, with each point slightly displaced.
  func draw(_ stroke: GlyphStroke, on canvas: GlyphCanvas, _ random: inout GlyphRandomness) {
    let count = stroke.points.count
    withUnsafeTemporaryAllocation(of: SIMD2<Float>.self, capacity: count + 3) { points in
      // One point before the first and two after the last, for curves.
      for (index, point) in stroke.points.enumerated() {
        let place = point - 0.5 + SIMD2(random.symmetric(), random.symmetric()) * jitter
        points[index + 1] = middle + columns.0 * place.x + columns.1 * place.y
      }
      if stroke.isClosed {
        points[0] = points[count]
        points[count + 1] = points[1]
        points[count + 2] = points[2]
      } else {
        points[0] = points[1] * 2 - points[2]
        points[count + 1] = points[count] * 2 - points[count - 1]
      }
      for index in 1..<(stroke.isClosed ? count + 1 : count) {
        if stroke.isSmooth {
          canvas.drawCurve(
            points[index - 1], points[index], points[index + 1], points[index + 2], radius: radius, reach: softness)
        } else {
          canvas.drawLine(from: points[index], to: points[index + 1], radius: radius, reach: softness)
        }
      }
    }
  }

  /// Draws scratches: short thin lines that belong to no digit.
  func scratch(on canvas: GlyphCanvas, _ random: inout GlyphRandomness) {
    for _ in 0..<scratchCount {
      let start = SIMD2(random.uniform(), random.uniform()) * 28
      let end = start + SIMD2(random.symmetric(), random.symmetric()) * 6
      canvas.drawLine(from: start, to: end, radius: 0.3 + 0.5 * random.uniform(), reach: softness)
    }
  }
}
