internal import CKernels

/// The loops of one-bit codes, whose layout the codec `OneBit` describes, over one group.
package enum OneBitLoops {
  /// Writes the code of gradient + residual, 8 bytes and 4 for every 32 values begun, and leaves the remainder as the new residual.
  ///
  /// - Returns: false, with the residual untouched, if a sum is not finite.
  package static func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) -> Bool {
    if let kernels = ck_table() { return kernels.pointee.one_bit_encode(gradient, residual, count, code) }
    return Portable.oneBitEncode(gradient, residual, count, code)
  }

  /// Sets `values` to the decoded group; `streaming` as in ``copy(_:count:to:streaming:)``.
  package static func decode(
    _ code: UnsafeRawPointer, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    if let kernels = ck_table() { return kernels.pointee.one_bit_decode(code, count, values, streaming) }
    Portable.oneBitDecode(code, count, values)
  }

  /// Adds the decoded group to `values`.
  package static func decode(_ code: UnsafeRawPointer, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    if let kernels = ck_table() { return kernels.pointee.one_bit_decode_adding(code, count, values) }
    Portable.oneBitDecodeAdding(code, count, values)
  }

  /// Sets `values` to the sum of decoded groups, one at least, added in the order given.
  package static func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    if let kernels = ck_table() { return kernels.pointee.one_bit_decode_sum(codes, codeCount, count, values) }
    Portable.oneBitDecodeSum(codes, codeCount, count, values)
  }
}
