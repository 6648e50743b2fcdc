internal import Buffers
internal import Kernels

/// A codec of integers times a scale, which all ranks may share: their integers can then be added before they are decoded.
///
/// A value arrives as (q · 1/m) · s with an integer q of ±m, and a sum as (Σ q · 1/m) · s. Sums of integers are exact in fp32 below 2²⁴,
/// in whatever order they are added.
///
/// Source: algorithms §12.1, A6.
package protocol SharedScaleCodec: Codec {
  /// m.
  var largestInteger: Int { get }
  /// Whether the least of the ranks' scales is shared: signs stay a contraction only with a scale below twice their own. Otherwise the
  /// largest, so that no value is beyond the grid.
  var sharesLeastScale: Bool { get }
  /// Whether integers are all there is to a code beside the scale.
  var canShareScales: Bool { get }

  /// The scale that a group would have by itself, 0 if fp32 has none for values so small; nil if values or their sums are not finite.
  func scale(_ gradient: UnsafePointer<Float>, _ residual: UnsafePointer<Float>, count: Int) -> Float?

  /// The bytes of the integers of `count` values, a multiple of 4.
  func integerByteCount(of count: Int) -> Int

  /// Writes the integers of gradient + residual for a scale above 0, and leaves the rest, or zeros, as the new residual.
  func encodeIntegers(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, scale: Float,
    into integers: UnsafeMutableRawPointer, context: EncodingContext)

  /// Adds integers to `sums`.
  func addIntegers(_ integers: UnsafeRawPointer, count: Int, to sums: UnsafeMutablePointer<Float>)
}

extension SharedScaleCodec {
  package var sharesLeastScale: Bool { false }
  package var canShareScales: Bool { true }

  /// What a sum of integers stands for.
  @inline(__always)
  package func value(of sum: Float, scale: Float) -> Float { (sum * (1 / Float(largestInteger))) * scale }

  /// Replaces sums of integers by what they stand for.
  package func decodeSums(_ sums: UnsafeMutablePointer<Float>, count: Int, scale: Float) {
    for i in 0..<count { sums[i] = value(of: sums[i], scale: scale) }
  }
}

extension LoopCodec where Self: SharedScaleCodec, Loops: IntegerLoops {
  var largestInteger: Int { loops.levels }

  func scale(_ gradient: UnsafePointer<Float>, _ residual: UnsafePointer<Float>, count: Int) -> Float? {
    loops(for: GroupStatistics(gradient, residual, count: count), count: count, context: EncodingContext())?.scale
  }

  func integerByteCount(of count: Int) -> Int { loops.byteCount(of: count) - loops.headerByteCount }

  func encodeIntegers(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, scale: Float,
    into integers: UnsafeMutableRawPointer, context: EncodingContext
  ) {
    loops.scaled(to: scale, context.random(.stochasticRounding).start)
      .encodeIntegers(gradient, residual, count: count, into: integers)
  }

  func addIntegers(_ integers: UnsafeRawPointer, count: Int, to sums: UnsafeMutablePointer<Float>) {
    loops.addIntegers(integers, count: count, to: sums)
  }
}

extension EFSign: SharedScaleCodec {
  var sharesLeastScale: Bool { true }
}

/// As in the paper, which shares the largest scale.
extension TernGrad: SharedScaleCodec {}

extension QSGD: SharedScaleCodec {}

extension Uniform: SharedScaleCodec {
  var canShareScales: Bool { !loops.hasOffset && loops.rounding != .dithered }
}
