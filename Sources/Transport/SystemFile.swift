#if canImport(Glibc)
  internal import Glibc
#endif

/// The text of a small file of the system, such as those in `/proc`; nil if it cannot be read.
///
/// This module has no Foundation: libraries for programs in other languages carry it along.
func textOfSystemFile(_ path: String) -> String? {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var (text, piece) = ([UInt8](), [UInt8](repeating: 0, count: 4096))
  while true {
    let count = piece.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return count == 0 ? String(decoding: text, as: UTF8.self) : nil }
    text += piece[..<count]
  }
}
