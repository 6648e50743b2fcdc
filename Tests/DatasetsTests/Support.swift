import Datasets
import Glibc
import Testing

/// A directory of this process's own that is removed, with what was written into it, when the last reference goes.
final class TemporaryDirectory {
  let path: String
  private var files: Set<String> = []
  private var folders: [String] = []

  init() {
    var template = Array("/tmp/morse-datasets-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
  }

  func makeFolder(_ name: String) {
    mkdir("\(path)/\(name)", 0o755)
    folders.append("\(path)/\(name)")
  }

  func write(_ bytes: [UInt8], to name: String) {
    let file = fopen("\(path)/\(name)", "w")!
    bytes.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, file) }
    fclose(file)
    files.insert("\(path)/\(name)")
  }

  func remove(_ name: String) {
    unlink("\(path)/\(name)")
    files.remove("\(path)/\(name)")
  }

  deinit {
    for file in files { unlink(file) }
    for folder in folders.reversed() { rmdir(folder) }
    rmdir(path)
  }
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
