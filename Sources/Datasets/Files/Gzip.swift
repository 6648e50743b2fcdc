internal import CZlib

/// The contents of a gzip file of one or more members, with their checksums verified.
///
/// Zeros after the last member, as tapes and block devices leave them, are padding.
///
/// - Parameters:
///   - bytes: the file.
///   - path: its name, for the error.
/// - Returns: the decompressed contents.
/// - Throws: `DataError` if the file is truncated, damaged, followed by other bytes, or not a gzip file.
package func decompressGzip(_ bytes: [UInt8], path: String) throws(DataError) -> [UInt8] {
  guard bytes.count >= 18, bytes[0] == 0x1F, bytes[1] == 0x8B else {
    throw DataError(
      "'\(path)' is not a gzip file, although its name ends in .gz; fetch it again, or drop the .gz if it is plain")
  }
  // The last four bytes are the length of the content (of the last member, modulo 2³²): a good first guess if plausible.
  let said = bytes.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
  try DataError.requireMemory(said <= bytes.count * 1032 ? said : bytes.count * 4, of: path)
  var content = [UInt8](repeating: 0, count: said <= bytes.count * 1032 ? max(said, 64) : bytes.count * 4)
  var filled = 0
  var stream = z_stream()
  // 16 + 15: gzip framing, the largest window.
  guard inflateInit2_(&stream, 16 + 15, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK else {
    throw DataError("cannot decompress '\(path)': zlib does not start")
  }
  defer { inflateEnd(&stream) }
  var consumed = 0
  while true {
    if filled == content.count { try DataError.requireMemory(2 * filled, of: path) }
    if filled == content.count { content.append(contentsOf: repeatElement(0, count: content.count)) }
    // zlib counts in 32 bits.
    let inputCount = min(bytes.count - consumed, 1 << 30)
    let outputCount = min(content.count - filled, 1 << 30)
    let code = bytes.withUnsafeBufferPointer { input in
      content.withUnsafeMutableBufferPointer { output in
        stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress! + consumed)
        stream.avail_in = UInt32(inputCount)
        stream.next_out = output.baseAddress! + filled
        stream.avail_out = UInt32(outputCount)
        return inflate(&stream, Z_NO_FLUSH)
      }
    }
    consumed += inputCount - Int(stream.avail_in)
    filled += outputCount - Int(stream.avail_out)
    switch code {
    case Z_OK: continue
    case Z_BUF_ERROR where consumed < bytes.count || filled == content.count: continue
    case Z_BUF_ERROR:
      throw DataError("'\(path)' is truncated: the gzip stream ends in the middle; fetch it again")
    case Z_STREAM_END where bytes[consumed...].allSatisfy({ $0 == 0 }):
      content.removeLast(content.count - filled)
      return content
    case Z_STREAM_END where bytes[consumed] == 0x1F:
      inflateReset(&stream)
    case Z_STREAM_END:
      throw DataError("'\(path)' has \(bytes.count - consumed) bytes after the end of its gzip stream; fetch it again")
    default:
      throw DataError(
        "'\(path)' is a damaged gzip file (\(stream.msg.map { String(cString: $0) } ?? "code \(code)")); fetch it again")
    }
  }
}
