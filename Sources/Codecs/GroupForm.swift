/// How groups of one length are sent: raw or as a code.
struct GroupForm {
  /// The number of bytes of the length in front of a code, if codes vary in length.
  static let lengthByteCount = 4
  /// What stands for the length of a code of values that are not finite: the bits of NaN, far beyond any length.
  static let notFinite: UInt32 = 0x7FC0_0000

  /// The number of values of a group.
  let count: Int
  /// Whether groups are sent as raw floats.
  let isRaw: Bool
  /// Whether groups are neither raw nor codes that vary in length.
  let isCodeOfFixedLength: Bool
  /// The number of bytes of the code by itself, or an upper bound.
  let codeByteCount: Int
  /// The number of bytes sent, or an upper bound.
  let byteCount: Int

  /// Creates the form of `count` values that are groups by themselves, together.
  init(single count: Int) {
    (self.count, isRaw, isCodeOfFixedLength, codeByteCount, byteCount) = (count, true, false, 4 * count, 4 * count)
  }

  /// Creates the form of groups of `count` values.
  ///
  /// A code that would be no smaller than the floats is not worth its loss.
  init(_ codec: some Codec, count: Int) {
    let codeByteCount = codec.codeByteCount(of: count)
    let framed = codeByteCount + (codec.hasVaryingLength ? GroupForm.lengthByteCount : 0)
    isRaw = !codec.isIdentity && 4 * count <= framed
    isCodeOfFixedLength = !isRaw && !codec.hasVaryingLength
    (self.count, self.codeByteCount) = (count, codeByteCount)
    byteCount = isRaw ? 4 * count : framed
  }
}
