internal import CMPI

/// In a receive or probe: a message of any rank.
public let anySource = Int(MPI_ANY_SOURCE)

/// In a receive or probe: a message of any tag.
public let anyTag = Int(MPI_ANY_TAG)

/// What is known of a message besides its values.
public struct Envelope: Sendable {
  /// The rank that sent it.
  public let source: Int
  /// The tag it was sent with.
  public let tag: Int
  /// MPI's own record.
  ///
  /// The length is looked up only when it is asked for: most receivers know it.
  private let status: MPI_Status

  /// Its length in bytes.
  public var byteCount: Int { Self.byteCount(of: status) }

  /// The number of values of type `T` in it.
  public func count<T: Datatype>(of type: T.Type) -> Int {
    let byteCount = byteCount
    require(byteCount % MemoryLayout<T>.stride == 0, "a message of \(byteCount) bytes is not a whole number of \(T.self)")
    return byteCount / MemoryLayout<T>.stride
  }

  @inline(__always)
  init(_ status: MPI_Status) {
    source = Int(status.MPI_SOURCE)
    tag = Int(status.MPI_TAG)
    self.status = status
  }

  /// For an operation that moved nothing.
  static var none: Envelope { Envelope(MPI_Status()) }

  /// The length in bytes, also where it does not fit in 32 bits.
  static func byteCount(of status: MPI_Status) -> Int {
    var count = MPI_Count()
    var status = status
    let code = MPI_Get_elements_x(&status, CMPI_BYTE(), &count)
    return code == MPI_SUCCESS ? Int(count) : 0
  }
}

extension Envelope: Hashable {
  public static func == (left: Envelope, right: Envelope) -> Bool {
    left.source == right.source && left.tag == right.tag && left.byteCount == right.byteCount
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(source)
    hasher.combine(tag)
    hasher.combine(byteCount)
  }
}

/// A received message.
public struct Message<Element: Datatype>: Sendable {
  /// What it carried.
  public let values: [Element]
  /// The rank that sent it.
  public let source: Int
  /// The tag it was sent with.
  public let tag: Int
}

extension Message: Equatable where Element: Equatable {}
extension Message: Hashable where Element: Hashable {}
