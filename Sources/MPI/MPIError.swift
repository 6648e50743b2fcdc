internal import CMPI

/// A failure that MPI reports, or a mistake in a call that was found before MPI was called.
public struct MPIError: Error, Hashable, Sendable {
  /// The error code, as the operation returned it.
  public let code: Int32
  /// The class of the error, the same for all implementations of MPI.
  ///
  /// The corresponding C function is `MPI_Error_class`.
  public let errorClass: Int32
  /// The C function that failed, for example `MPI_Allreduce`, or the function of this module whose arguments were wrong.
  public let operation: String
  /// MPI's error text, or what was wrong with the arguments.
  public let text: String

  /// An error with our own text: what MPI does not report, because it was not called.
  ///
  /// `errorClass` is one of MPI's error classes.
  init(_ errorClass: Int32 = MPI_ERR_OTHER, operation: String, text: String) {
    code = errorClass
    self.errorClass = errorClass
    self.operation = operation
    self.text = text
  }

  /// The error that `code` stands for, with MPI's description, which is queried now: an error may outlive MPI.
  init(code: Int32, operation: String) {
    self.code = code
    self.operation = operation
    guard Runtime.canDescribeErrors else {
      errorClass = MPI_ERR_UNKNOWN
      text = "error \(code)"
      return
    }
    var result: CInt = 0
    errorClass = MPI_Error_class(code, &result) == MPI_SUCCESS ? result : MPI_ERR_UNKNOWN
    var characters = [CChar](repeating: 0, count: Int(MPI_MAX_ERROR_STRING) + 1)
    var length: CInt = 0
    let known = MPI_Error_string(code, &characters, &length) == MPI_SUCCESS
    let bytes = characters.prefix(Int(length)).map { UInt8(bitPattern: $0) }
    text = known ? String(decoding: bytes, as: UTF8.self) : "unknown error \(code)"
  }

  /// Whether a message was longer than the memory it was received into.
  public var isTruncation: Bool { errorClass == MPI_ERR_TRUNCATE }
}

extension MPIError: CustomStringConvertible {
  /// The operation's name and MPI's error text.
  public var description: String { "\(operation): \(text)" }
}

/// An error that chooses the exit status of the job it ends.
public protocol ExitStatusProviding: Error {
  /// The exit status of the process; 1–255.
  var exitStatus: Int32 { get }
}

/// Throws the error that `code` stands for, if any.
@inline(__always)
func check(_ code: CInt, _ operation: StaticString) throws {
  guard code == MPI_SUCCESS else { throw MPIError(code: code, operation: "\(operation)") }
}
