internal import Buffers

/// The samples in a NumPy array file, one along the first axis after another; the values stay as they are in the file.
struct NumpyArray: Sendable {
  /// The name of the file that was read, `.gz` included.
  let path: String
  /// The lengths of the axes: the number of samples first.
  var shape: [Int] { header.shape }
  /// The number of values of a sample.
  let sampleSize: Int
  private let header: NumpyHeader
  private let content: [UInt8]

  /// Reads `name` in `directory`, or `name.gz`, an array of one of the types `elements` with at least one value.
  init(_ name: String, in directory: String, elements: [NumpyHeader.Element]) throws(DataError) {
    guard let path = firstFile(of: [name], in: directory) else {
      let hasArchive = try namesInDirectory(directory, advice: "").contains { $0.hasSuffix(".npz") }
      throw DataError(
        "'\(directory)' holds no \(name); npy:DIR is the directory of x_train.npy, y_train.npy, x_test.npy and y_test.npy"
          + (hasArchive ? ", and arrays in an .npz archive are saved with numpy.save, each by itself" : ""))
    }
    let content = try readDecompressed(path)
    do { header = try content.withUnsafeBytes { try NumpyHeader($0, path: path, elements: elements) } } catch {
      throw DataError("\(error)")
    }
    guard header.count > 0, let count = header.shape.first else {
      throw DataError("'\(path)' has the shape \(describe(header.shape)), which holds no samples; save an array that does")
    }
    (self.path, self.content) = (path, content)
    sampleSize = header.count / count
  }

  /// A hash of the contents of the file.
  var fingerprint: UInt64 { hash(content) }

  /// Writes the values of a sample, in their order in the file.
  func read(_ sample: Int, into values: UnsafeMutablePointer<Double>) {
    content.withUnsafeBytes { bytes in
      let first = header.start + sample * sampleSize * header.element.byteCount
      switch header.element {
      case .float32:
        for place in 0..<sampleSize {
          let pattern = bytes.loadUnaligned(fromByteOffset: first + 4 * place, as: UInt32.self)
          values[place] = Double(Float(bitPattern: UInt32(littleEndian: pattern)))
        }
      case .float64:
        for place in 0..<sampleSize {
          let pattern = bytes.loadUnaligned(fromByteOffset: first + 8 * place, as: UInt64.self)
          values[place] = Double(bitPattern: UInt64(littleEndian: pattern))
        }
      case .uint8:
        for place in 0..<sampleSize { values[place] = Double(bytes[first + place]) }
      default: require(false, "inputs are bytes or floats")
      }
    }
  }

  /// The whole number at a place of the file, as its lowest 64 bits say; nil if it is no `Int`.
  func integer(_ place: Int) -> Int? {
    let size = header.element.byteCount
    let first = header.start + place * size
    let pattern = (0..<size).reduce(UInt64(0)) { $0 | UInt64(content[first + $1]) << (8 * UInt64($1)) }
    switch header.element {
    case .int8: return Int(Int8(truncatingIfNeeded: pattern))
    case .int16: return Int(Int16(truncatingIfNeeded: pattern))
    case .int32: return Int(Int32(truncatingIfNeeded: pattern))
    case .int64: return Int(Int64(bitPattern: pattern))
    default: return Int(exactly: pattern)
    }
  }
}
