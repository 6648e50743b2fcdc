internal import Buffers
internal import CKernels

/// The loops for integers on a uniform grid.
///
/// A symmetric grid sends fp32 s and integers q of ±`levels`, in two's complement, for s q/`levels`. A grid with an offset sends fp32
/// low and high, and integers q from 0 to `levels` for low + (high − low) q/`levels`. A dithered grid is symmetric; uint32 k after s is
/// the key of z, uniform in [−½, ½) for each value, and q stands for s (q − z)/`levels`.
package struct GridLoops: CodeLoops {
  /// The numbers of bits with loops.
  package static let bitCounts = [2, 4, 8, 16]

  package let bits: Int
  /// The largest integer.
  package let levels: Int
  /// How values become integers.
  package let rounding: Rounding
  /// Whether the grid begins at a value of its own.
  package let hasOffset: Bool
  /// Whether the remainder stays in the residual.
  package let keepsRemainder: Bool
  /// s, or low and high − low.
  package var scale: Float = 0
  package var low: Float = 0
  /// Where the random numbers begin.
  package var random = RandomStart.none
  /// k.
  package var ditherKey: UInt32 = 0

  /// Creates loops for values of `bits` bits, one of ``bitCounts``, whose scale is not set.
  package init(bits: Int, levels: Int, rounding: Rounding, hasOffset: Bool = false, keepsRemainder: Bool) {
    require(GridLoops.bitCounts.contains(bits), "a value has 2, 4, 8 or 16 bits, not \(bits)")
    require(levels > 0 && levels < 1 << (hasOffset ? bits : bits - 1), "\(bits) bits have no \(levels) levels")
    (self.bits, self.levels, self.rounding) = (bits, levels, rounding)
    (self.hasOffset, self.keepsRemainder) = (hasOffset, keepsRemainder)
  }

  package var headerByteCount: Int { hasOffset || rounding == .dithered ? 8 : 4 }

  /// Whether every integer stands for a finite value.
  package var isFinite: Bool {
    let reach = rounding == .dithered ? Float(levels) + 1.5 : Float(levels)
    let span = (reach * (1 / Float(levels))) * scale
    return scale.isFinite && (low + span).isFinite
  }

  private func grid(_ scale: Float, low: Float, _ random: RandomStart) -> ck_grid {
    ck_grid(
      bits: UInt32(bits), rounding: rounding.rawValue, has_offset: hasOffset, keeps: keepsRemainder, levels: Float(levels),
      inverse: 1 / Float(levels), low: low, scale: scale, random: random.forLoops)
  }

  private func dither(of key: UInt32) -> RandomStart {
    let philox = Philox(seed: UInt64(key), purpose: .dither)
    return RandomStart(counter: philox.counter(quad: 0), key: philox.key)
  }

  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) {
    code.store(hasOffset ? low : scale, at: 0)
    if hasOffset { code.store(low + scale, at: 4) }
    if rounding == .dithered { code.storeBytes(of: ditherKey.littleEndian, toByteOffset: 4, as: UInt32.self) }
    // As the decoder sees it.
    let span = hasOffset ? (low + scale) - low : scale
    withUnsafePointer(to: grid(span, low: low, rounding == .dithered ? dither(of: ditherKey) : random)) {
      ck_codes().pointee.grid_encode(gradient, residual, count, $0, code + headerByteCount)
    }
  }

  package func decode(_ code: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>, _ mode: DecodingMode) {
    let first = code.float(at: 0)
    let second = headerByteCount > 4 ? code.float(at: 4) : 0
    let dither = rounding == .dithered ? dither(of: second.bitPattern) : .none
    withUnsafePointer(to: grid(hasOffset ? second - first : first, low: hasOffset ? first : 0, dither)) {
      ck_codes().pointee.grid_decode(code + headerByteCount, count, $0, values, mode.rawValue)
    }
  }
}

/// Only of a symmetric grid without dither.
extension GridLoops: IntegerLoops {
  package func scaled(to scale: Float, _ random: RandomStart) -> GridLoops {
    var loops = self
    (loops.scale, loops.random) = (scale, random)
    return loops
  }

  package func encodeIntegers(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int,
    into integers: UnsafeMutableRawPointer
  ) {
    withUnsafePointer(to: grid(scale, low: 0, random)) {
      ck_codes().pointee.grid_encode(gradient, residual, count, $0, integers)
    }
  }

  package func addIntegers(_ integers: UnsafeRawPointer, count: Int, to sums: UnsafeMutablePointer<Float>) {
    var whole = grid(1, low: 0, .none)
    whole.inverse = 1
    withUnsafePointer(to: whole) { ck_codes().pointee.grid_decode(integers, count, $0, sums, DecodingMode.add.rawValue) }
  }
}
