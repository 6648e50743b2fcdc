/// A sparse vector as one message: its indices compactly coded, and its values as they are.
///
///     uint32   the number k of values, little endian
///     bytes    the indices (``IndexCode``), a multiple of 4
///     fp32     × k, little endian
///
/// - Cost: 4 + 4k bytes plus the indices: about 10 bits each for one value in a hundred, always less than 32 bits each.
public struct SparseCode: Hashable, Sendable {
  /// The code of the indices.
  public let indices: IndexCode

  /// Creates the code of vectors of `count` values.
  public init(count: Int) { indices = IndexCode(bound: count) }

  /// The maximum number of bytes of a vector with `k` values.
  public func mostBytes(k: Int) -> Int { 4 + indices.mostBytes(count: k) + 4 * k }

  /// Writes the vector and returns the number of bytes, a multiple of 4; `code` must have room for ``mostBytes(k:)``.
  public func encode(_ vector: SparseVector, into code: UnsafeMutableRawPointer) -> Int {
    code.storeBytes(of: UInt32(vector.count).littleEndian, as: UInt32.self)
    let start = 4 + indices.encode(vector.indices, into: code + 4)
    for (i, value) in vector.values.enumerated() {
      code.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: start + 4 * i, as: UInt32.self)
    }
    return start + 4 * vector.count
  }

  /// Reads a vector that fills `code`; throws if the bytes are not a sparse code.
  public func decode(_ code: UnsafeRawBufferPointer) throws(SparseCodeError) -> SparseVector {
    guard code.count >= 4 else { throw SparseCodeError("\(code.count) bytes") }
    let count = Int(UInt32(littleEndian: code.loadUnaligned(as: UInt32.self)))
    let start = code.count - 4 * count
    guard start >= 4 else { throw SparseCodeError("\(code.count) bytes for \(count) values") }
    let list = try indices.decode(UnsafeRawBufferPointer(rebasing: code[4..<start]), count: count)
    let values = (0..<count).map { i in
      Float(bitPattern: UInt32(littleEndian: code.loadUnaligned(fromByteOffset: start + 4 * i, as: UInt32.self)))
    }
    return SparseVector(indices: list, values: values)
  }
}
