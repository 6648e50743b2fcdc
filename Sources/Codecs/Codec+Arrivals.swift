extension Codec {
  /// The number of bytes of an encoded group of `count` values, or of groups of one value each if they `areSingle`, with which `bytes`
  /// from another process begin; nil if they begin with none.
  package func byteCount(ofGroupAt bytes: UnsafeRawBufferPointer, count: Int, areSingle: Bool = false) -> Int? {
    let form = areSingle ? GroupForm(single: count) : GroupForm(self, count: count)
    guard !form.isRaw, hasVaryingLength else { return form.byteCount <= bytes.count ? form.byteCount : nil }
    guard let start = bytes.baseAddress, bytes.count >= GroupForm.lengthByteCount else { return nil }
    let code = UInt32(littleEndian: start.loadUnaligned(as: UInt32.self))
    if code == GroupForm.notFinite { return GroupForm.lengthByteCount }
    let length = Int(code)
    let end = GroupForm.lengthByteCount + (length + 3) / 4 * 4
    guard length <= form.codeByteCount, end <= bytes.count else { return nil }
    return length == 0 || isCode(start + GroupForm.lengthByteCount, byteCount: length, count: count) ? end : nil
  }
}
