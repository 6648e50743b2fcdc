/// How groups of one length travel: raw or as a code.
struct GroupForm {
  /// The bytes of a length that stands before a code, if codes vary in length.
  static let lengthByteCount = 4

  /// The values of a group.
  let count: Int
  /// Whether they are sent as their floats.
  let isRaw: Bool
  /// Whether they are neither raw nor codes that vary in length.
  let isCodeOfFixedLength: Bool
  /// The bytes of the code by itself, or the most of them.
  let codeByteCount: Int
  /// The bytes of what is sent, or the most of them.
  let byteCount: Int

  /// The form of groups of `count` values.
  ///
  /// A code that would be no smaller than the floats is not worth what it loses.
  init(_ codec: some Codec, count: Int) {
    let codeByteCount = codec.codeByteCount(of: count)
    let framed = codeByteCount + (codec.hasVaryingLength ? GroupForm.lengthByteCount : 0)
    isRaw = !codec.isIdentity && 4 * count <= framed
    isCodeOfFixedLength = !isRaw && !codec.hasVaryingLength
    (self.count, self.codeByteCount) = (count, codeByteCount)
    byteCount = isRaw ? 4 * count : framed
  }
}
