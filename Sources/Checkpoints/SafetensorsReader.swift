internal import Buffers
public import Files
internal import FoundationEssentials

/// A safetensors file of fp32 tensors, open for reading; every size is checked before it is used.
public struct SafetensorsReader: ~Copyable {
  /// A tensor as the header describes it.
  public struct Entry: Hashable, Sendable {
    /// Its name.
    public let name: String
    /// Its shape.
    public let shape: [Int]
    /// The number of values.
    public let count: Int
    /// The offset of its first byte in the file.
    let offset: Int

    /// Whether this is the tensor called `name`: files of earlier versions say `weights.3` and `biases.3` for `layers.3.weight` and
    /// `layers.3.bias`.
    func isNamed(_ name: String) -> Bool {
      if self.name == name { return true }
      let words = name.split(separator: ".")
      guard words.count == 3, words[0] == "layers", let kind = ["weight": "weights", "bias": "biases"][String(words[2])] else {
        return false
      }
      return self.name == "\(kind).\(words[1])"
    }
  }

  /// The tensors in the order of the file.
  public let entries: [Entry]
  /// Texts that the writer added.
  public let metadata: [String: String]
  /// The path it was opened by.
  public let path: String

  private let file: File
  /// The format's own limit, which prevents a huge allocation from a malicious length.
  private static let longestHeader = 100_000_000

  /// Opens `path` and checks its header: tensors with consistent type, shape and place, contiguous up to the end of the file.
  public init(_ path: String) throws {
    self.path = path
    let file = try File(path, .read)
    let byteCount = try file.byteCount()

    func fault(_ what: String) -> CheckpointError { CheckpointError(.configuration, "\(path) \(what)") }

    guard byteCount >= 8 else { throw fault("is not a safetensors file: it has only \(byteCount) bytes") }
    var stored: UInt64 = 0
    try withUnsafeMutableBytes(of: &stored) { try file.read(into: $0, at: 0) }
    let length = UInt64(littleEndian: stored)
    guard length <= UInt64(Self.longestHeader) else {
      throw fault("is not a safetensors file: its header would have \(length) bytes")
    }
    guard length >= 2 && Int(length) <= byteCount - 8 else {
      throw fault("is truncated: its header has \(length) bytes, the file \(byteCount)")
    }
    let text = ByteBuffer(count: Int(length))
    try file.read(into: text.bytes, at: 8)
    guard text.bytes[0] == UInt8(ascii: "{") else { throw fault("is not a safetensors file: its header is not JSON") }
    let header: Header
    do {
      header = try JSONDecoder().decode(Header.self, from: Data(text.bytes))
    } catch {
      throw fault("has a damaged header")
    }

    let start = 8 + Int(length)
    let dataCount = byteCount - start
    var entries: [Entry] = []
    var end = 0
    for (name, tensor) in header.tensors.sorted(by: { ($0.value.begin, $0.value.end) < ($1.value.begin, $1.value.end) }) {
      // PyTorch counts the batches of a normalization, which is no part of a model.
      if name.hasSuffix(".num_batches_tracked"), tensor.dtype == "I64", tensor.begin == end, tensor.end == end + 8 {
        end = tensor.end
        continue
      }
      guard tensor.dtype == "F32" else { throw fault("holds tensor '\(name)' of type \(tensor.dtype); only F32 is read here") }
      guard let count = Self.count(of: tensor.shape) else {
        throw fault("gives tensor '\(name)' the impossible shape \(tensor.shape)")
      }
      guard tensor.begin == end && tensor.end >= tensor.begin else {
        throw fault("places tensor '\(name)' at bytes \(tensor.begin) to \(tensor.end), expected from \(end)")
      }
      guard tensor.end <= dataCount else {
        throw fault("is truncated: tensor '\(name)' ends at byte \(tensor.end) of \(dataCount)")
      }
      guard tensor.end - tensor.begin == count * 4 else {
        throw fault("gives tensor '\(name)' of shape \(tensor.shape) \(tensor.end - tensor.begin) bytes")
      }
      entries.append(Entry(name: name, shape: tensor.shape, count: count, offset: start + tensor.begin))
      end = tensor.end
    }
    guard end == dataCount else { throw fault("has \(dataCount - end) bytes after its last tensor") }
    self.file = file
    self.entries = entries
    metadata = header.metadata
  }

  /// The tensor with the given name.
  public func entry(_ name: String) -> Entry? { entries.first { $0.isNamed(name) } }

  /// Reads the values of `entry` from index `start` on, as many as fit into `values`.
  public func read(_ entry: Entry, from start: Int = 0, into values: UnsafeMutableBufferPointer<Float>) throws(FileError) {
    require(start >= 0 && start + values.count <= entry.count, "tensor \(entry.name) has no such values")
    try file.read(into: UnsafeMutableRawBufferPointer(values), at: entry.offset + start * 4)
  }

  /// The number of values of a shape; nil if an extent is negative or the bytes overflow.
  private static func count(of shape: [Int]) -> Int? {
    var count = 1
    for extent in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard extent >= 0 && !overflow else { return nil }
      count = product
    }
    return count <= Int.max / 4 ? count : nil
  }
}

/// The JSON header of a safetensors file.
private struct Header: Decodable {
  struct Tensor: Decodable {
    let dtype: String
    let shape: [Int]
    let begin: Int
    let end: Int

    enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      dtype = try container.decode(String.self, forKey: .dtype)
      shape = try container.decode([Int].self, forKey: .shape)
      let offsets = try container.decode([Int].self, forKey: .offsets)
      guard offsets.count == 2 else {
        throw DecodingError.dataCorruptedError(forKey: .offsets, in: container, debugDescription: "two offsets are needed")
      }
      (begin, end) = (offsets[0], offsets[1])
    }
  }

  /// Any name is a key.
  struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  var tensors: [String: Tensor] = [:]
  var metadata: [String: String] = [:]

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Name.self)
    for key in container.allKeys {
      if key.stringValue == "__metadata__" {
        metadata = try container.decode([String: String].self, forKey: key)
      } else {
        tensors[key.stringValue] = try container.decode(Tensor.self, forKey: key)
      }
    }
  }
}
