internal import CKernels

/// The loops for floats of sixteen bits.
///
/// The upper halves of floats have no header. Half floats are those of s times the values; 1/s goes before them, and s is a power of
/// two, so that scaling rounds nothing.
package struct ShortFloatLoops: CodeLoops {
  /// Whether they are half floats; otherwise upper halves of floats.
  package let isHalf: Bool
  /// How values are rounded: `nearest`, or of upper halves `stochastic`.
  package let rounding: Rounding
  /// Whether the remainder stays in the residual.
  package let keepsRemainder: Bool
  /// s.
  package var scale: Float = 1
  /// Where the random numbers begin.
  package var random = RandomStart.none
  package let bits = 16

  /// Creates loops whose scale is 1.
  package init(isHalf: Bool, rounding: Rounding, keepsRemainder: Bool) {
    (self.isHalf, self.rounding, self.keepsRemainder) = (isHalf, rounding, keepsRemainder)
  }

  package var headerByteCount: Int { isHalf ? 4 : 0 }

  /// The largest finite half float, 65 504.
  private static let largestHalf: UInt32 = 0x7BFF
  /// The largest one below 2¹⁵.
  private static let largestBelow15: UInt32 = 0x77FF

  private func form(scale: Float, mostIsBelow15: Bool = false) -> ck_short_floats {
    ck_short_floats(
      rounding: rounding.rawValue, is_half: isHalf, keeps: keepsRemainder, scale: scale,
      most: mostIsBelow15 ? ShortFloatLoops.largestBelow15 : ShortFloatLoops.largestHalf, random: random.forLoops)
  }

  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) {
    if isHalf { code.store(1 / scale, at: 0) }
    // 2¹⁵/s is no float any more if s is 2⁻¹¹³.
    withUnsafePointer(to: form(scale: scale, mostIsBelow15: scale <= 0x1p-113)) {
      ck_codes().pointee.short_encode(gradient, residual, count, $0, code + headerByteCount)
    }
  }

  package func decode(_ code: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>, _ mode: DecodingMode) {
    withUnsafePointer(to: form(scale: isHalf ? code.float(at: 0) : 1)) {
      ck_codes().pointee.short_decode(code + headerByteCount, count, $0, values, mode.rawValue)
    }
  }
}
