/// The samples of a WAV file with one channel, 16 bits, 8 kHz.
///
/// Files are accepted as programs leave them: if sizes were never filled in, because the file was written to a pipe, the
/// samples are all that follows; bytes after the form and chunks of other kinds are skipped.
///
/// Source: the RIFF form `WAVE`: chunks of four letters, a little-endian size, that many bytes, and a byte of padding if odd.
package struct WAVFile: Sendable {
  /// The samples, −32768 … 32767.
  package let samples: [Int16]
  /// Samples per second.
  package static let sampleRate = 8000

  /// Reads the samples out of the file's content; `path` is named in errors.
  package init(_ content: [UInt8], path: String) throws(DataError) {
    func word16(_ offset: Int) -> Int { Int(content[offset]) | Int(content[offset + 1]) << 8 }
    func word32(_ offset: Int) -> Int { word16(offset) | word16(offset + 2) << 16 }
    func isText(_ text: StaticString, at offset: Int) -> Bool {
      text.withUTF8Buffer { $0.elementsEqual(content[offset..<offset + 4]) }
    }
    let again = "record or fetch it again"
    guard !content.isEmpty else { throw DataError("'\(path)' is empty; \(again)") }
    guard content.count >= 4, isText("RIFF", at: 0), content.count < 12 || isText("WAVE", at: 8) else {
      throw DataError("'\(path)' is not a WAV file: it does not begin with RIFF … WAVE; convert it to WAV, PCM of 16 bits")
    }
    guard content.count >= 12 else {
      throw DataError("'\(path)' is truncated: \(content.count) bytes do not hold the header of a WAV file; \(again)")
    }
    let isFormOpen = WAVFile.isUnknown(word32(4))
    let end = isFormOpen ? content.count : 8 + word32(4)
    guard end <= content.count else {
      throw DataError("'\(path)' is truncated: its header says \(end) bytes, and it has \(content.count); \(again)")
    }

    var isFormatKnown = false
    var offset = 12
    while offset + 8 <= end {
      var byteCount = word32(offset + 4)
      let start = offset + 8
      if isText("data", at: offset), WAVFile.isUnknown(byteCount) {
        // If the form ends here, its size was not filled in either. If other chunks follow in it, 0 means no samples.
        byteCount = isFormOpen || start == end ? content.count - start : byteCount > 0 ? end - start : 0
      }
      guard start + byteCount <= content.count else {
        throw DataError("'\(path)' is truncated: a chunk of \(byteCount) bytes ends beyond the file; \(again)")
      }
      if isText("fmt ", at: offset) {
        guard byteCount >= 16 else {
          throw DataError("'\(path)' is damaged: its format takes \(byteCount) bytes, not 16; \(again)")
        }
        let code = word16(start)
        // The extensible form names its real format at the start of an identifier.
        let format = code == 0xFFFE && byteCount >= 40 ? word16(start + 24) : code
        let found = (format, word16(start + 2), word16(start + 14), word32(start + 4))
        guard found == (1, 1, 16, Self.sampleRate) else {
          let coding = format == 1 ? "PCM" : "format \(format)"
          throw DataError(
            "'\(path)' has \(found.1) channels of \(coding), \(found.2) bits, \(found.3) Hz; "
              + "convert it to 1 channel of PCM, 16 bits, \(Self.sampleRate) Hz"
          )
        }
        isFormatKnown = true
      } else if isText("data", at: offset) {
        guard isFormatKnown else { throw DataError("'\(path)' is damaged: its samples stand before their format; \(again)") }
        guard byteCount > 0 else { throw DataError("'\(path)' holds no samples; remove it, or record it again") }
        guard byteCount % 2 == 0 else {
          throw DataError("'\(path)' is damaged: \(byteCount) bytes are no whole number of samples; \(again)")
        }
        samples = (0..<byteCount / 2).map { Int16(truncatingIfNeeded: word16(start + 2 * $0)) }
        return
      }
      offset = start + byteCount
      // Some writers omit the padding.
      let isPadded = offset + 4 > end || !(isText("data", at: offset) || isText("fmt ", at: offset))
      if byteCount % 2 == 1 && isPadded { offset += 1 }
    }
    throw DataError("'\(path)' is damaged: it has no chunk of samples; \(again)")
  }

  /// Whether a size was written before it was known: 0, all ones, or the maximum that some programs write, just below 2³¹.
  private static func isUnknown(_ byteCount: Int) -> Bool { byteCount == 0 || byteCount >= 0x7FFF_F000 }
}
