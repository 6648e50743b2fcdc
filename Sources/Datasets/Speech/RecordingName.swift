/// The parts of a recording's name: `{digit}_{speaker}_{number}.wav`, with the ending in upper or lower case.
package struct RecordingName: Hashable, Sendable {
  /// 0 … 9.
  package let digit: Int
  /// Everything between the first and the last underscore.
  package let speaker: String
  /// Counts the recordings of one speaker and digit.
  package let number: Int

  /// Reads a name; nil if it has another form.
  package init?(_ name: String) {
    guard RecordingName.isRecording(name) else { return nil }
    let parts = name.dropLast(4).split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count >= 3, parts[0].utf8.count == 1, let digit = Int(parts[0]), digit >= 0,
      parts[parts.count - 1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(parts[parts.count - 1])
    else { return nil }
    self.digit = digit
    self.number = number
    speaker = parts[1..<parts.count - 1].joined(separator: "_")
    guard !speaker.isEmpty else { return nil }
  }

  /// Whether a file of this name is treated as a recording.
  package static func isRecording(_ name: String) -> Bool { name.lowercased().hasSuffix(".wav") }

  /// The usual split: recordings 0 to 4 of each speaker and digit are for the test.
  package var split: Split { number < 5 ? .test : .train }
}
