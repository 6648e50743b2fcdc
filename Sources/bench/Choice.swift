internal import ArgumentParser
internal import Buffers

/// Returns the value named `text` for `--option`; throws for an unknown name, listing the known ones.
func choice<Value: CaseIterable & RawRepresentable<String>>(_ text: String, for option: String) throws -> Value {
  guard let value = Value(rawValue: text) else {
    throw ValidationError(unknown("--\(option): unknown value", text, known: Value.allCases.map(\.rawValue)))
  }
  return value
}
