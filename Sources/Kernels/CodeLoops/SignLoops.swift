internal import CKernels

/// The loops for signs with one scale: fp32 s, then a bit for each value, 1 for +s and 0 for −s.
package struct SignLoops: CodeLoops {
  /// s.
  package var scale: Float = 0
  /// Whether the remainder stays in the residual.
  package let keepsRemainder: Bool
  package let headerByteCount = 4
  package let bits = 1

  /// Creates loops whose scale is not set.
  package init(keepsRemainder: Bool) { self.keepsRemainder = keepsRemainder }

  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) {
    code.store(scale, at: 0)
    ck_codes().pointee.sign_encode(gradient, residual, count, scale, keepsRemainder, code + headerByteCount)
  }

  package func decode(_ code: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>, _ mode: DecodingMode) {
    ck_codes().pointee.sign_decode(code + headerByteCount, count, code.float(at: 0), values, mode.rawValue)
  }
}

extension SignLoops: IntegerLoops {
  package var levels: Int { 1 }

  package func scaled(to scale: Float, _ random: RandomStart) -> SignLoops {
    var loops = self
    loops.scale = scale
    return loops
  }

  package func encodeIntegers(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int,
    into integers: UnsafeMutableRawPointer
  ) { ck_codes().pointee.sign_encode(gradient, residual, count, scale, keepsRemainder, integers) }

  package func addIntegers(_ integers: UnsafeRawPointer, count: Int, to sums: UnsafeMutablePointer<Float>) {
    ck_codes().pointee.sign_decode(integers, count, 1, sums, DecodingMode.add.rawValue)
  }
}
