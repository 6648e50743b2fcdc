/// What the header of a NumPy array file says (`.npy`, versions 1.0 and 2.0): the type and the shape of its values.
///
/// Only little-endian values in C order can be read.
/// Source: the description of the format in NumPy's own documentation (`numpy.lib.format`).
package struct NumpyHeader: Hashable, Sendable {
  /// The type of values, as files write it.
  package enum Element: String, Sendable {
    case uint8 = "|u1"
    case uint16 = "<u2"
    case uint32 = "<u4"
    case uint64 = "<u8"
    case int8 = "|i1"
    case int16 = "<i2"
    case int32 = "<i4"
    case int64 = "<i8"
    case float32 = "<f4"
    case float64 = "<f8"

    /// All types of whole numbers.
    package static let integers: [Element] = [.uint8, .uint16, .uint32, .uint64, .int8, .int16, .int32, .int64]

    /// The number of bytes of a value.
    package var byteCount: Int { rawValue.utf8.last.map { Int($0) - 48 }! }
  }

  /// The bytes at the start of every file.
  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// The type of the values.
  package let element: Element
  /// The lengths of the axes, the last one varying fastest; empty for a single number.
  package let shape: [Int]
  /// The number of values.
  package let count: Int
  /// Where the values begin; they go on to the end of the file.
  package let start: Int

  /// Reads the header of a file's contents and checks that the values follow.
  ///
  /// - Parameters:
  ///   - bytes: the contents of the file.
  ///   - path: its name, for the error.
  ///   - elements: the types of values that the caller reads.
  /// - Throws: `NumpyFileError`.
  package init(_ bytes: UnsafeRawBufferPointer, path: String, elements: [Element]) throws(NumpyFileError) {
    if bytes.starts(with: Array("PK".utf8)) {
      throw NumpyFileError(path, "is an archive such as .npz; save each of its arrays with numpy.save")
    }
    guard bytes.count >= 10, bytes.prefix(6).elementsEqual(NumpyHeader.magic) else {
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

    let type = NumpyHeader.field("descr", of: header) ?? "unknown"
    guard let element = elements.first(where: { type == "'\($0.rawValue)'" }) else {
      throw NumpyFileError(path, NumpyHeader.fault(of: type, elements))
    }
    guard NumpyHeader.field("fortran_order", of: header) == "False" else {
      throw NumpyFileError(path, "is in Fortran order; save numpy.ascontiguousarray of it")
    }
    guard let shape = NumpyHeader.axes(NumpyHeader.field("shape", of: header)) else {
      throw NumpyFileError(path, "has a header without a shape")
    }
    // Every product is checked: a header may claim more values than there are addresses.
    var count = 1
    for axis in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: axis)
      guard !overflow, product <= Int.max / 8 else { throw NumpyFileError(path, "claims an impossible shape \(shape)") }
      count = product
    }
    guard bytes.count - start == count * element.byteCount else {
      throw NumpyFileError(
        path,
        "holds \(bytes.count - start) bytes of values where its shape \(shape) needs \(count * element.byteCount)")
    }
    (self.element, self.shape, self.count, self.start) = (element, shape, count, start)
  }

  /// What is wrong with values of a type that cannot be read.
  private static func fault(of type: String, _ elements: [Element]) -> String {
    if type.hasPrefix("'>") { return "holds big-endian values of type \(type); save them with .astype of a little-endian type" }
    if type.hasPrefix("[") { return "holds records of several fields; save it with numpy.save of an array of numbers" }
    if type.hasSuffix("O'") { return "holds pickled objects; save it with numpy.save of an array of numbers" }
    let names = elements.map { "'\($0.rawValue)'" }
    let list = names.count > 1 ? names.dropLast().joined(separator: ", ") + " and " + names.last! : names.joined()
    return "holds values of type \(type); \(list) can be read"
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
