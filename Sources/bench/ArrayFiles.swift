internal import Buffers
internal import Files
internal import MPI

extension NumpyFile {
  /// Reads an array from a file, a pipe or a descriptor.
  init(from name: String) throws {
    let bytes: [UInt8]
    do { bytes = try InputFile.bytes(of: name) } catch { throw UnreadableInput(description: "\(error)") }
    try self.init(bytes, of: name)
  }

  /// Writes the array to a file, a pipe or a descriptor.
  func write(to destination: FileDestination) throws(FileError) {
    try destination.write(header, UnsafeRawBufferPointer(values.values))
  }
}

/// An input that cannot be read; counts as bad data, like one with the wrong contents.
private struct UnreadableInput: ExitStatusProviding, CustomStringConvertible {
  let description: String
  var exitStatus: Int32 { 65 }
}
