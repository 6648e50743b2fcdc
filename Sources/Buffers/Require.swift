/// Ends the program with `sentence` if the caller of a function violated its contract.
///
/// Unlike `precondition`, it prints the sentence in release builds, too. Mistakes of users are reported as errors instead.
///
/// - Parameters:
///   - condition: What must be true.
///   - sentence: What is wrong, without a full stop.
///   - file: The file of the check.
///   - line: The line there.
@inlinable
@inline(__always)
public func require(
  _ condition: Bool, _ sentence: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
) {
  if !condition { fatalError(sentence(), file: file, line: line) }
}
