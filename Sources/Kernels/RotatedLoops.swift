internal import CKernels

/// The loops over one group for codes of rotated values, whose layout the codec `Rotated` describes.
package struct RotatedLoops: Sendable {
  /// The numbers of bits with loops.
  package static let bitCounts = [1, 2, 4]
  /// The most values of a group.
  package static let longestGroup = 4096

  /// The number of bits per value.
  package let bits: Int
  /// Whether the product of what is decoded and the group is the square of its norm, instead of the least error.
  package let isUnbiased: Bool
  /// The share of the residual that takes part in a code.
  package let feedback: Float
  /// A bit for each value of the longest group: whether it changes its sign before the rotation.
  private let signs: [UInt32]

  /// Creates the loops for `bits` per value, one of ``bitCounts``; `signs` has a word for each 32 values of the longest group.
  package init(bits: Int, isUnbiased: Bool, feedback: Float, signs: [UInt32]) {
    (self.bits, self.isUnbiased, self.feedback, self.signs) = (bits, isUnbiased, feedback, signs)
  }

  /// The number of values that are rotated for a group of `count`: a power of two.
  package static func size(of count: Int) -> Int { 1 << Portable.rotationStages(of: count) }

  /// Writes the code of gradient + feedback · residual, and leaves what gradient + residual has beyond it as the new residual.
  ///
  /// - Returns: False, with the residual untouched, if a sum is not finite, or what would be decoded is not.
  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) -> Bool {
    signs.withUnsafeBufferPointer { signs in
      guard let signs = signs.baseAddress else { return false }
      if let kernels = ck_table() {
        return kernels.pointee.rotated_encode(gradient, residual, count, Int32(bits), isUnbiased, feedback, signs, code)
      }
      return Portable.rotatedEncode(gradient, residual, count, bits, isUnbiased: isUnbiased, feedback: feedback, signs, code)
    }
  }

  /// Sets `values` to the sum of at least one decoded group, or adds it: the rotated values are summed in the given order, and rotated
  /// back together.
  package func decode(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>, adds: Bool
  ) {
    signs.withUnsafeBufferPointer { signs in
      guard let signs = signs.baseAddress else { return }
      if let kernels = ck_table() {
        return kernels.pointee.rotated_decode(codes, codeCount, count, Int32(bits), signs, values, adds)
      }
      Portable.rotatedDecode(codes, codeCount, count, bits, signs, values, adds: adds)
    }
  }
}

/// The Hadamard transform of 2^stages values in place, without its factor 2^(−stages/2); the same bits on every processor.
///
/// Entry (i, k) of the matrix is −1 if i and k have an odd number of bits in common, else 1.
package func hadamard(_ values: UnsafeMutablePointer<Float>, stages: Int) {
  if stages >= 4, let kernels = ck_table() { return kernels.pointee.hadamard(values, Int32(stages)) }
  Portable.rotate(values, stages: stages)
}
