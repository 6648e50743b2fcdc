internal import Buffers
internal import CKernels

/// The loops for powers of two with a sign.
///
/// They send fp32 s, and for each value 4 or 8 bits, the highest of which is the sign: 0 for 0, and `steps` + 1 − k for s 2⁻ᵏ, k from 0
/// to `steps`.
package struct PowerLoops: CodeLoops {
  package let bits: Int
  /// The number of halvings from the largest power to the least.
  package let steps: Int
  /// How values become powers: `nearest` or `stochastic`.
  package let rounding: Rounding
  /// Whether the remainder stays in the residual.
  package let keepsRemainder: Bool
  /// s.
  package var scale: Float = 0
  /// Where the random numbers begin.
  package var random = RandomStart.none
  package let headerByteCount = 4

  /// Creates loops for values of 4 bits, with up to 6 halvings, or 8 bits, with up to 126, whose scale is not set.
  package init(bits: Int, steps: Int, rounding: Rounding, keepsRemainder: Bool) {
    require(
      bits == 4 && (0...6).contains(steps) || bits == 8 && (0...126).contains(steps), "\(bits) bits have no \(steps) powers")
    (self.bits, self.steps, self.rounding, self.keepsRemainder) = (bits, steps, rounding, keepsRemainder)
  }

  private func powers(_ scale: Float) -> ck_powers {
    ck_powers(
      bits: UInt32(bits), rounding: rounding.rawValue, steps: UInt32(steps), keeps: keepsRemainder, scale: scale,
      random: random.forLoops)
  }

  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) {
    code.store(scale, at: 0)
    withUnsafePointer(to: powers(scale)) {
      ck_codes().pointee.power_encode(gradient, residual, count, $0, code + headerByteCount)
    }
  }

  package func decode(_ code: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>, _ mode: DecodingMode) {
    withUnsafePointer(to: powers(code.float(at: 0))) {
      ck_codes().pointee.power_decode(code + headerByteCount, count, $0, values, mode.rawValue)
    }
  }
}
