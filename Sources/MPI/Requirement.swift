/// Stops the program with `sentence` when the caller made a mistake.
///
/// `precondition` keeps its words to itself in release builds, which are what people run.
@inline(__always)
func require(_ condition: Bool, _ sentence: @autoclosure () -> String) {
  if !condition { stop(sentence()) }
}

@inline(never)
private func stop(_ sentence: String) -> Never { fatalError(sentence) }
