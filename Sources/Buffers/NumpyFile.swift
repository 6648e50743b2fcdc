#if canImport(Glibc)
  import Glibc
#endif

/// A NumPy array file (`.npy`, versions 1.0 and 2.0): little-endian fp32 or fp64 in C order, of any shape.
///
/// Source: the description of the format in NumPy's own documentation (`numpy.lib.format`).
public struct NumpyFile: Sendable {
  /// The lengths of the axes, the last one varying fastest; empty for a single number.
  public let shape: [Int]
  /// The values, rounded to fp32 if the file holds fp64.
  public let values: FloatBuffer

  /// An array of this shape that holds `values`.
  public init(shape: [Int], values: FloatBuffer) {
    require(shape.reduce(1, *) == values.count, "an array of shape \(shape) does not hold \(values.count) values")
    self.shape = shape
    self.values = values
  }

  /// Reads a file; throws `NumpyFileError`, one sentence that names the file.
  public init(reading path: String) throws {
    let bytes = try NumpyFile.contents(of: path)
    self = try bytes.bytes.withMemoryRebound(to: UInt8.self) { try NumpyFile.parse(UnsafeRawBufferPointer($0), path: path) }
  }

  /// Reads the contents of a file; throws `NumpyFileError`, one sentence that calls the file `name`.
  public init(_ bytes: [UInt8], of name: String) throws {
    self = try bytes.withUnsafeBytes { try NumpyFile.parse($0, path: name) }
  }

  /// The bytes before the values in a file of version 1.0, `<f4`.
  public var header: [UInt8] {
    let axes = shape.map { "\($0)," }.joined(separator: " ")
    var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(shape.count > 1 ? String(axes.dropLast()) : axes)), }"
    // Magic, version and length take 10 bytes; the values begin at a multiple of 64.
    text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
    return NumpyFile.magic + [1, 0, UInt8(text.utf8.count & 255), UInt8(text.utf8.count >> 8)] + Array(text.utf8)
  }

  /// Writes a file, version 1.0, `<f4`; an existing file is overwritten.
  public func write(to path: String) throws {
    guard let file = fopen(path, "wb") else {
      throw NumpyFileError(path, "cannot be written: \(String(cString: strerror(errno)))", isWriting: true)
    }
    let start = header
    let isWritten =
      fwrite(start, 1, start.count, file) == start.count
      && fwrite(values.baseAddress, 4, values.count, file) == values.count
    guard fclose(file) == 0 && isWritten else {
      throw NumpyFileError(path, "cannot be written: \(String(cString: strerror(errno)))", isWriting: true)
    }
  }

  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  private static func contents(of path: String) throws -> ByteBuffer {
    guard let file = fopen(path, "rb") else {
      throw NumpyFileError(path, "cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var status = stat()
    guard fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw NumpyFileError(path, "is not a file")
    }
    let bytes = ByteBuffer(count: Int(status.st_size))
    guard fread(bytes.baseAddress, 1, bytes.count, file) == bytes.count else {
      throw NumpyFileError(path, "cannot be read to its end")
    }
    return bytes
  }

  private static func parse(_ bytes: UnsafeRawBufferPointer, path: String) throws -> NumpyFile {
    guard bytes.count >= 10, bytes.prefix(6).elementsEqual(magic) else {
      throw NumpyFileError(path, "is not a NumPy array (its first bytes are not those of an .npy file)")
    }
    guard bytes[6] == 1 || bytes[6] == 2, bytes[7] == 0, bytes.count >= 12 else {
      throw NumpyFileError(path, "has the format version \(bytes[6]).\(bytes[7]); 1.0 and 2.0 can be read")
    }
    let isShort = bytes[6] == 1
    let length = (0..<(isShort ? 2 : 4)).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
    let start = (isShort ? 10 : 12) + length
    guard start <= bytes.count else { throw NumpyFileError(path, "ends within its header") }
    let header = String(decoding: bytes[(isShort ? 10 : 12)..<start], as: UTF8.self)

    let isDouble: Bool
    switch field("descr", of: header) {
    case "'<f4'": isDouble = false
    case "'<f8'": isDouble = true
    case let type: throw NumpyFileError(path, "holds values of type \(type ?? "unknown"); '<f4' and '<f8' can be read")
    }
    guard field("fortran_order", of: header) == "False" else {
      throw NumpyFileError(path, "is in Fortran order; save numpy.ascontiguousarray of it")
    }
    guard let shape = axes(field("shape", of: header)) else {
      throw NumpyFileError(path, "has a header without a shape")
    }
    // Every product is checked: a header may claim more values than there are addresses.
    var count = 1
    for axis in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: axis)
      guard !overflow, product <= Int.max / 8 else { throw NumpyFileError(path, "claims an impossible shape \(shape)") }
      count = product
    }
    guard bytes.count - start == count * (isDouble ? 8 : 4) else {
      throw NumpyFileError(
        path, "holds \(bytes.count - start) bytes of values where its shape \(shape) needs \(count * (isDouble ? 8 : 4))")
    }
    let values = FloatBuffer(count: count)
    if isDouble {
      for i in 0..<count {
        let pattern = bytes.loadUnaligned(fromByteOffset: start + 8 * i, as: UInt64.self)
        values.baseAddress[i] = Float(Double(bitPattern: UInt64(littleEndian: pattern)))
      }
    } else if count > 0 {
      memcpy(values.baseAddress, bytes.baseAddress! + start, 4 * count)
    }
    return NumpyFile(shape: shape, values: values)
  }

  /// The text of a value in a header, which is a Python dictionary: up to the next comma outside parentheses.
  private static func field(_ name: String, of header: String) -> String? {
    let text = Array(header.utf8)
    let key = Array("'\(name)':".utf8)
    guard text.count > key.count,
      let place = (0...text.count - key.count).first(where: { text[$0..<$0 + key.count].elementsEqual(key) })
    else { return nil }
    var value: [UInt8] = []
    var depth = 0
    for byte in text[(place + key.count)...] {
      if byte == UInt8(ascii: "(") { depth += 1 }
      if byte == UInt8(ascii: ")") { depth -= 1 }
      if depth == 0 && (byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}")) { break }
      if byte != UInt8(ascii: " ") { value.append(byte) }
    }
    return String(decoding: value, as: UTF8.self)
  }

  /// The numbers of `(2,3)`, `(5,)` or `()`.
  private static func axes(_ text: String?) -> [Int]? {
    guard let text, text.hasPrefix("("), text.hasSuffix(")") else { return nil }
    var axes: [Int] = []
    for axis in text.dropFirst().dropLast().split(separator: ",") {
      guard let length = Int(axis), length >= 0 else { return nil }
      axes.append(length)
    }
    return axes
  }
}

/// What is wrong with a `.npy` file, in one sentence without a full stop.
public struct NumpyFileError: Error, CustomStringConvertible {
  public let description: String
  /// Whether a file could not be written; otherwise a file could not be read, or is invalid.
  public let isWriting: Bool
  init(_ path: String, _ fault: String, isWriting: Bool = false) {
    description = "'\(path)' \(fault)"
    self.isWriting = isWriting
  }
}
