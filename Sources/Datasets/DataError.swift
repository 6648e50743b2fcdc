/// What is wrong with data on disk: one sentence that names the file and says what to do, without a full stop.
public struct DataError: Error, Hashable, CustomStringConvertible {
  /// The sentence.
  public let description: String
  /// An error that says `description`.
  public init(_ description: String) { self.description = description }
}
