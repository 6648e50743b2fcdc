internal import Buffers

/// What is wrong with data on disk: one sentence that names the file and states what to do, without a full stop.
public struct DataError: Error, Hashable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// An error with this description.
  public init(_ description: String) { self.description = description }

  /// Whether the cause is a lack of memory, not a fault in the data.
  public private(set) var isOutOfMemory = false

  /// Throws if the contents of a file, `byteCount` bytes, would not fit in memory; an array of them would end the process.
  static func requireMemory(_ byteCount: Int, of path: String) throws(DataError) {
    do { try MemoryLimit.require(byteCount, for: "'\(path)'") } catch {
      var failure = DataError(error.description)
      failure.isOutOfMemory = true
      throw failure
    }
  }
}
