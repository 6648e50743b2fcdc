import Datasets
import Foundation
import Glibc
import Testing

/// A directory of this process's own that is removed, with all that is in it, when the last reference goes.
final class TemporaryDirectory {
  let path = NSTemporaryDirectory() + "morse-datasets-\(UUID().uuidString)"

  init() { makeFolder("") }

  func makeFolder(_ name: String) {
    mkdir("\(path)/\(name)", 0o755)
  }

  func write(_ bytes: [UInt8], to name: String) {
    let isWritten = FileManager.default.createFile(atPath: "\(path)/\(name)", contents: Data(bytes))
    precondition(isWritten, "\(path)/\(name) cannot be written")
  }

  func remove(_ name: String) {
    unlink("\(path)/\(name)")
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The folder of real data beside the package, nil where it is absent.
func sharedData(_ name: String) -> String? {
  let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
  let path = "/\(root)/../shared/data/\(name)"
  return access(path, R_OK) == 0 ? path : nil
}

/// Checks that `body` throws a `DataError` of one sentence that contains all `fragments`.
func expectDataError(_ fragments: String..., from body: () throws -> Void) {
  do {
    try body()
    Issue.record("nothing was thrown; expected \(fragments)")
  } catch let error as DataError {
    for fragment in fragments {
      #expect(error.description.contains(fragment), "'\(error.description)' does not say '\(fragment)'")
    }
    #expect(!error.description.contains("\n") && !error.description.hasSuffix("."))
  } catch {
    Issue.record("not a DataError: \(error)")
  }
}

/// A number's bytes, the most significant first.
func bigEndian(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

/// A number's bytes, the least significant first.
func littleEndian(_ value: Int, byteCount: Int) -> [UInt8] {
  (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// A gzip member that stores `content` uncompressed, with a checksum by its definition.
func gzip(_ content: [UInt8]) -> [UInt8] {
  var remainder: UInt32 = .max
  for byte in content {
    remainder ^= UInt32(byte)
    for _ in 0..<8 { remainder = remainder >> 1 ^ (remainder & 1 == 1 ? 0xEDB8_8320 : 0) }
  }
  let length = littleEndian(content.count, byteCount: 2)
  return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1] + length + length.map { ~$0 } + content
    + littleEndian(Int(~remainder), byteCount: 4) + littleEndian(content.count, byteCount: 4)
}
