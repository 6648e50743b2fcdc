internal import CMPI
internal import Synchronization

/// A type whose values can be sent.
///
/// Integers of fixed width, `Int`, `UInt`, `Float` and `Double` conform. A custom type conforms in one line,
/// `extension Interval: Datatype {}`: its values are sent as their bytes, between ranks of the same program and architecture,
/// and can be combined by custom operations. Types of the standard library, such as `Bool` and `Float16`, also conform in one
/// line: `extension Bool: @retroactive Datatype {}`.
public protocol Datatype: BitwiseCopyable, Sendable {
  /// How MPI represents the type.
  static var elementType: ElementType { get }
}

extension Datatype {
  /// The bytes of the value, padding included.
  public static var elementType: ElementType { ElementType(.bytes(MemoryLayout<Self>.stride)) }
}

/// How MPI represents a type: as one of its own, or as a number of bytes.
public struct ElementType: Hashable, Sendable {
  enum Kind: Hashable, Sendable {
    case int8, uint8, int16, uint16, int32, uint32, int64, uint64, float, double
    case bytes(Int)
  }
  let kind: Kind

  init(_ kind: Kind) { self.kind = kind }

  /// Whether MPI knows only its length and has no operations for it.
  var isBytes: Bool { if case .bytes = kind { true } else { false } }

  /// MPI's handle; byte types are created on first use and kept.
  var handle: MPI_Datatype {
    get throws {
      switch kind {
      case .int8: CMPI_INT8()
      case .uint8: CMPI_UINT8()
      case .int16: CMPI_INT16()
      case .uint16: CMPI_UINT16()
      case .int32: CMPI_INT32()
      case .uint32: CMPI_UINT32()
      case .int64: CMPI_INT64()
      case .uint64: CMPI_UINT64()
      case .float: CMPI_FLOAT()
      case .double: CMPI_DOUBLE()
      case .bytes(let count): try byteTypes.handle(byteCount: count)
      }
    }
  }
}

extension Int8: Datatype { public static var elementType: ElementType { ElementType(.int8) } }
extension UInt8: Datatype { public static var elementType: ElementType { ElementType(.uint8) } }
extension Int16: Datatype { public static var elementType: ElementType { ElementType(.int16) } }
extension UInt16: Datatype { public static var elementType: ElementType { ElementType(.uint16) } }
extension Int32: Datatype { public static var elementType: ElementType { ElementType(.int32) } }
extension UInt32: Datatype { public static var elementType: ElementType { ElementType(.uint32) } }
extension Int64: Datatype { public static var elementType: ElementType { ElementType(.int64) } }
extension UInt64: Datatype { public static var elementType: ElementType { ElementType(.uint64) } }
extension Int: Datatype { public static var elementType: ElementType { ElementType(.int64) } }
extension UInt: Datatype { public static var elementType: ElementType { ElementType(.uint64) } }
extension Float: Datatype { public static var elementType: ElementType { ElementType(.float) } }
extension Double: Datatype { public static var elementType: ElementType { ElementType(.double) } }

/// The byte types created so far.
private let byteTypes = ByteTypes()

private final class ByteTypes: Sendable {
  private struct Handle: @unchecked Sendable { let raw: MPI_Datatype }
  private let handles = Mutex<[Int: Handle]>([:])

  func handle(byteCount: Int) throws -> MPI_Datatype {
    try handles.withLock { handles in
      if let known = handles[byteCount] { return known }
      // A world without MPI may get here first.
      try Runtime.start()
      var made: MPI_Datatype?
      try check(MPI_Type_contiguous(CInt(byteCount), CMPI_BYTE(), &made), "MPI_Type_contiguous")
      try check(MPI_Type_commit(&made), "MPI_Type_commit")
      let handle = Handle(raw: made!)
      handles[byteCount] = handle
      return handle
    }.raw
  }
}
