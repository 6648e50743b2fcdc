internal import ArgumentParser
internal import Buffers

/// The value that `text` names, for `--option`; a name that there is not is refused with those there are.
func choice<Value: CaseIterable & RawRepresentable<String>>(_ text: String, for option: String) throws -> Value {
  guard let value = Value(rawValue: text) else {
    throw ValidationError(unknown("--\(option): unknown value", text, known: Value.allCases.map(\.rawValue)))
  }
  return value
}
