import Foundation

/// A text that repeats with a period of 24 letters: the last letter says next to nothing about the next one, the last three all.
enum PeriodicText {
  static let text = String(repeating: "abacbcaabbccacabcbabbacc", count: 60)

  /// Writes the text to a file in `directory`, and gives its path; collective.
  static func file(in directory: TemporaryDirectory) throws -> String {
    try directory.change { try Data(text.utf8).write(to: URL(fileURLWithPath: directory.path + "/text")) }
    return directory.path + "/text"
  }
}
