public import Buffers
public import Files

/// Files of named tensors in the safetensors format: the length of the header in eight bytes, a JSON header, the values.
///
/// Python reads them with `safetensors.numpy.load_file(path)`. Values are fp32 in little-endian order without gaps, as the
/// format requires; the header is padded with spaces so that the values begin at a multiple of 64 bytes.
public enum Safetensors {
  /// What was written.
  public struct Summary: Hashable, Sendable {
    /// The xxHash64 of the whole file.
    public let hash: UInt64
    /// The size of the file.
    public let byteCount: Int
  }

  /// Writes `tensors` to the new file `path`, directly from their memory, and waits until they are on disk.
  ///
  /// - Returns: The size and the hash of the intended contents, computed while writing.
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
      // In 1 MiB pieces: what the hash has read is still in the cache when the system copies it.
      for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
        let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + 1 << 20, bytes.count)])
        hash.update(piece)
        try file.write(piece)
      }
      byteCount += bytes.count
    }

    let header = header(of: tensors, metadata: metadata)
    try header.span.withUnsafeBytes { (bytes) throws(FileError) in try append(bytes) }
    for tensor in tensors { try append(UnsafeRawBufferPointer(tensor.values)) }
    return Summary(hash: hash.value, byteCount: byteCount)
  }

  /// Writes `tensors` to `destination`; a file is replaced as a whole, and at every moment is the old one or the new one.
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
      require(!members.contains { $0.key == tensor.name }, "two tensors named \(tensor.name)")
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
    return withUnsafeBytes(of: length) { Array($0) } + text
  }
}
