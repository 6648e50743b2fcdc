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
    return NumpyHeader.magic + [1, 0, UInt8(text.utf8.count & 255), UInt8(text.utf8.count >> 8)] + Array(text.utf8)
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
    let header = try NumpyHeader(bytes, path: path, elements: [.float32, .float64])
    let values = FloatBuffer(count: header.count)
    if header.element == .float64 {
      for i in 0..<header.count {
        let pattern = bytes.loadUnaligned(fromByteOffset: header.start + 8 * i, as: UInt64.self)
        values.baseAddress[i] = Float(Double(bitPattern: UInt64(littleEndian: pattern)))
      }
    } else if header.count > 0 {
      memcpy(values.baseAddress, bytes.baseAddress! + header.start, 4 * header.count)
    }
    return NumpyFile(shape: header.shape, values: values)
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
