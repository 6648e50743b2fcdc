public import Buffers
public import Files

/// Files of named tensors in the safetensors format: eight bytes with the length of a JSON header, the header, the values.
///
/// Python reads them: `safetensors.numpy.load_file(path)`. Values are fp32 in little-endian order without gaps, as the format
/// demands; the header is padded with spaces so that the values begin at a multiple of 64 bytes.
public enum Safetensors {
  /// What was written.
  public struct Summary: Hashable, Sendable {
    /// The xxHash64 of the whole file.
    public let hash: UInt64
    /// The size of the file.
    public let byteCount: Int
  }

  /// Writes `tensors` to the new file `path`, straight from their memory, and waits until they are on the disk.
  ///
  /// - Returns: the size and the hash of what was meant to be written, computed on the way.
  @discardableResult
  public static func write(
    _ tensors: [SavedTensor], metadata: [(key: String, value: String)] = [], to path: String
  ) throws(FileError) -> Summary {
    var file = try File(path, .write)
    let summary = try write(tensors, metadata: metadata, to: file)
    try file.synchronize()
    try file.finish()
    return summary
  }

  private static func write(
    _ tensors: [SavedTensor], metadata: [(key: String, value: String)], to file: borrowing File
  ) throws(FileError) -> Summary {
    var hash = XXHash64()
    var byteCount = 0

    func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
      // By the mebibyte: what the hash has read is still in the cache when the system copies it.
      for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
        let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + 1 << 20, bytes.count)])
        unsafe hash.update(piece)
        unsafe try file.write(piece)
      }
      byteCount += bytes.count
    }

    let header = header(of: tensors, metadata: metadata)
    try header.span.withUnsafeBytes { (bytes) throws(FileError) in unsafe try append(bytes) }
    for tensor in tensors { unsafe try append(UnsafeRawBufferPointer(tensor.values)) }
    return Summary(hash: hash.value, byteCount: byteCount)
  }

  /// Writes `tensors` where `destination` says: into a file as a whole, which is at every moment the old one or the new one.
  @discardableResult
  public static func write(
    _ tensors: [SavedTensor], metadata: [(key: String, value: String)] = [], to destination: FileDestination
  ) throws(FileError) -> Summary {
    try destination.write { (file) throws(FileError) in try write(tensors, metadata: metadata, to: file) }
  }

  /// The length and the JSON header, padded.
  private static func header(of tensors: [SavedTensor], metadata: [(key: String, value: String)]) -> [UInt8] {
    var members: [JSONValue.Member] = []
    if !metadata.isEmpty {
      members.append(.init("__metadata__", .object(metadata.map { .init($0.key, .string($0.value)) })))
    }
    var offset = 0
    for tensor in tensors {
      precondition(!members.contains { $0.key == tensor.name }, "two tensors named \(tensor.name)")
      let end = offset + tensor.values.count * 4
      members.append(
        .init(
          tensor.name,
          ["dtype": "F32", "shape": .integers(tensor.shape), "data_offsets": .integers([offset, end])]))
      offset = end
    }
    var text = Array(JSONValue.object(members).description.utf8)
    text.append(contentsOf: Array(repeating: UInt8(ascii: " "), count: -(text.count + 8) & 63))
    let length = UInt64(text.count).littleEndian
    return withUnsafeBytes(of: length) { unsafe Array($0) } + text
  }
}
