internal import CMPI

/// In a receive or probe: a message from any rank.
public let anySource = Int(MPI_ANY_SOURCE)

/// In a receive or probe: a message with any tag.
public let anyTag = Int(MPI_ANY_TAG)

/// The source, tag and length of a message.
public struct Envelope: Hashable, Sendable {
  /// The rank that sent it.
  public let source: Int
  /// The tag it was sent with.
  public let tag: Int
  /// Its length in bytes.
  public let byteCount: Int

  /// The number of whole values of type `T` in it.
  ///
  /// Bytes may be left over if it was sent as another type; receiving it as `T` is then an error.
  public func count<T: Datatype>(of type: T.Type) -> Int { byteCount / MemoryLayout<T>.stride }

  @inline(__always)
  init(_ status: MPI_Status) {
    source = Int(status.MPI_SOURCE)
    tag = Int(status.MPI_TAG)
    byteCount = Self.byteCount(of: status)
  }

  /// The envelope of an operation that moved nothing.
  static var none: Envelope { Envelope(MPI_Status()) }

  /// The length in bytes, even if it does not fit in 32 bits.
  @inline(__always)
  static func byteCount(of status: MPI_Status) -> Int {
    var status = status
    return Int(CMPI_byte_count(&status))
  }

  /// Throws if the message is not a whole number of `T`.
  @inline(__always)
  func requireWhole<T: Datatype>(_ type: T.Type, _ operation: StaticString) throws {
    if byteCount % MemoryLayout<T>.stride != 0 { throw partialValue(type, operation) }
  }

  @inline(never)
  private func partialValue<T: Datatype>(_ type: T.Type, _ operation: StaticString) -> MPIError {
    MPIError(
      MPI_ERR_TYPE, operation: "\(operation)",
      text: "a message of \(byteCount) bytes from rank \(source) with tag \(tag) is not a whole number of \(T.self) of "
        + "\(MemoryLayout<T>.stride) bytes")
  }
}

/// A received message.
public struct Message<Element: Datatype>: Sendable {
  /// The values it carried.
  public let values: [Element]
  /// The rank that sent it.
  public let source: Int
  /// The tag it was sent with.
  public let tag: Int
}

extension Message: Equatable where Element: Equatable {}
extension Message: Hashable where Element: Hashable {}
