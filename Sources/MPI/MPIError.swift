internal import CMPI

/// What MPI reports when an operation fails, or what was wrong with a call before MPI was asked.
public struct MPIError: Error, Hashable, Sendable {
  /// The error code, as the operation returned it.
  public let code: Int32
  /// The class of the error, the same for all implementations of MPI.
  ///
  /// The corresponding C function is `MPI_Error_class`.
  public let errorClass: Int32
  /// The C function that failed, for example `MPI_Allreduce`, or the function of this module whose arguments were wrong.
  public let operation: String
  /// MPI's own words, or what was wrong with the arguments.
  public let text: String

  /// An error with words of our own: what MPI would not report, because it was not asked.
  ///
  /// `errorClass` is one of MPI's classes.
  init(_ errorClass: Int32 = MPI_ERR_OTHER, operation: String, text: String) {
    code = errorClass
    self.errorClass = errorClass
    self.operation = operation
    self.text = text
  }

  /// The error that `code` stands for, with MPI's description of it, which is asked for now: an error may outlive MPI.
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
  /// The operation's name and MPI's own words.
  public var description: String { "\(operation): \(text)" }
}

/// An error that chooses the exit status of the job it ends.
public protocol ExitStatusProviding: Error {
  /// What the process ends with; 1–255.
  var exitStatus: Int32 { get }
}

/// Throws the error that `code` stands for, if it stands for one.
@inline(__always)
func check(_ code: CInt, _ operation: StaticString) throws {
  guard code == MPI_SUCCESS else { throw MPIError(code: code, operation: "\(operation)") }
}
