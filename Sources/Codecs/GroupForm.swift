/// How groups of one length travel: raw or as a code.
struct GroupForm {
  /// The bytes of a length that stands before a code, if codes vary in length.
  static let lengthByteCount = 4

  /// Whether they are sent as their floats.
  let isRaw: Bool
  /// The bytes of the code by itself, or the most of them.
  let codeByteCount: Int
  /// The bytes of what is sent, or the most of them.
  let byteCount: Int

  /// The form of groups of `count` values.
  init(_ codec: some Codec, count: Int) {
    self.init(
      count: count, codeByteCount: codec.codeByteCount(of: count), isIdentity: codec.isIdentity,
      isVarying: codec.hasVaryingLength)
  }

  /// The same, with what does not change from group to group already asked.
  ///
  /// A code that would be no smaller than the floats is not worth what it loses.
  @inline(__always)
  init(count: Int, codeByteCount: Int, isIdentity: Bool, isVarying: Bool) {
    let framed = codeByteCount + (isVarying ? GroupForm.lengthByteCount : 0)
    isRaw = !isIdentity && 4 * count <= framed
    self.codeByteCount = codeByteCount
    byteCount = isRaw ? 4 * count : framed
  }
}
