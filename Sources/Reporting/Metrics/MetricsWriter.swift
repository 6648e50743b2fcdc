public import Files
internal import Glibc

/// The metrics file of a run: JSON lines that rank 0 writes, each handed to the system as soon as it is there.
///
/// A disk that is full ends no run: the line is dropped whole, the first time with a warning, and the next one is tried again.
public final class MetricsWriter {
  private let file: File
  private let warn: (String) -> Void
  private var hasWarned = false

  /// Opens `path` for a new run, or with `appending` for one that goes on: lines come after those that are there, and half a
  /// line that a killed run left is removed.
  ///
  /// `warn` gets one sentence, once, when a line cannot be written. Throws `FileError` where the file cannot be opened, and
  /// `FileInUse` where another run writes there.
  public convenience init(_ path: String, appending: Bool, warn: @escaping (String) -> Void) throws {
    try self.init(FileDestination(path), appending: appending, patience: 10, warn: warn)
  }

  /// Opens `destination`; what is no file, or was opened by somebody else, has no past: lines go where it is.
  ///
  /// Another run has `patience` seconds to let go of the file.
  package init(_ destination: FileDestination, appending: Bool, patience: Double, warn: @escaping (String) -> Void) throws {
    file = try destination.append()
    self.warn = warn
    guard file.length != nil else { return }
    try file.claim(for: "metrics", patience: patience)
    guard let length = file.length else { return }
    let end = appending ? try file.endOfLastLine(before: length) : 0
    guard end == length || ftruncate(file.descriptor, off_t(end)) == 0 else { throw FileError.last("write", file.path) }
  }

  /// Writes one line.
  public func write(_ event: some MetricsEvent) { write(event.json) }

  /// Writes one line.
  public func write(_ value: JSONValue) {
    let before = file.length
    do {
      try file.write(Array("\(value)\n".utf8))
    } catch {
      // Half a line would spoil the file for every reader.
      if let before { _ = ftruncate(file.descriptor, off_t(before)) }
      guard !hasWarned else { return }
      hasWarned = true
      warn("some metrics will be missing: \(error); the run goes on")
    }
  }
}
