package import Files
internal import Glibc

/// A file of trace events to which several processes of one host append whole lines.
///
/// It is a JSON array in Chrome's trace format, one event per line, whose closing bracket may be missing: what a killed process
/// has written stays readable. A lock on the file keeps the processes apart. An incomplete line, left by a full disk or by a
/// kill during a write, is removed by the next process that writes.
package final class TraceFile {
  private let file: File
  /// Its path.
  var path: String { file.path }

  /// Opens `path` for appending; creates it if it is missing.
  package init(_ path: String) throws(FileError) { file = try FileDestination(path).append() }

  /// Ensures that no other run writes here before anything is changed; the first process of a host does this for all of them.
  func claim(patience: Double) throws { try file.claim(for: "timeline", patience: patience) }

  /// Removes the contents.
  package func clear() throws(FileError) {
    if file.length != nil { try cut(to: 0) }
  }

  /// Removes an incomplete last line and the line that closes the array, so that events can follow.
  package func reopen() throws(FileError) {
    try file.locked { () throws(FileError) in
      guard let end = try wholeLines(), end > 1 else { return }
      let last = try read(end - 2..<end)
      guard last.first == UInt8(ascii: "]") else { return }
      try cut(to: file.endOfLastLine(before: end - 1))
    }
  }

  /// Appends whole lines, or throws and appends nothing.
  package func append(_ lines: [UInt8]) throws(FileError) {
    try file.locked { () throws(FileError) in
      let end = try wholeLines()
      do throws(FileError) { try file.write(lines) } catch {
        if let end { _ = ftruncate(file.descriptor, off_t(end)) }
        throw error
      }
    }
  }

  /// The number of bytes; 0 if there is no length: for a pipe, a device, or a file opened by another process.
  var byteCount: Int { file.length ?? 0 }

  /// The bytes in `range`, which must lie in the file.
  func read(_ range: Range<Int>) throws(FileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    var failure: FileError?
    bytes.withUnsafeMutableBytes { bytes in
      do throws(FileError) { try file.read(into: bytes, at: range.lowerBound) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Removes an incomplete last line; returns where the last whole line ends, nil if the file has no length.
  private func wholeLines() throws(FileError) -> Int? {
    guard let end = file.length else { return nil }
    guard end > 0, try read(end - 1..<end) != [UInt8(ascii: "\n")] else { return end }
    let last = try file.endOfLastLine(before: end)
    try cut(to: last)
    return last
  }

  private func cut(to end: Int) throws(FileError) {
    guard ftruncate(file.descriptor, off_t(end)) == 0 else { throw .last("write", path) }
  }
}
