internal import Buffers

/// What is wrong with data on disk: one sentence that names the file and says what to do, without a full stop.
public struct DataError: Error, Hashable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// An error that says `description`.
  public init(_ description: String) { self.description = description }

  /// Whether memory is missing, and nothing is wrong with the data.
  public private(set) var isOutOfMemory = false

  /// Throws where the content of a file, `byteCount` bytes, could not be kept in memory; an array of them would end the process.
  static func requireMemory(_ byteCount: Int, of path: String) throws(DataError) {
    do { try MemoryLimit.require(byteCount, for: "'\(path)'") } catch {
      var failure = DataError(error.description)
      failure.isOutOfMemory = true
      throw failure
    }
  }
}
