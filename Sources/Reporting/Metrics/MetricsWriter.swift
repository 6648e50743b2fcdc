public import Files
internal import Glibc

/// The metrics file of a run: JSON lines written by rank 0, each handed to the system immediately.
///
/// A full disk does not end the run: the line is dropped whole, with a warning the first time, and the next line is tried
/// again.
public final class MetricsWriter {
  private let file: File
  private let content: String
  private let warn: (String) -> Void
  private var hasWarned = false

  /// Opens `path` for a new run, or for a resumed one if `appending`.
  ///
  /// When appending, lines follow the existing ones, and an incomplete line left by a killed run is removed.
  ///
  /// `warn` is called once, with one sentence, when a line cannot be written. Throws `FileError` if the file cannot be opened,
  /// and `FileInUse` if another run writes to it.
  public convenience init(_ path: String, appending: Bool, warn: @escaping (String) -> Void) throws {
    try self.init(FileDestination(path), appending: appending, patience: 10, warn: warn)
  }

  /// Opens `destination`; if it is not a regular file, or was opened by another process, lines go to its current position.
  ///
  /// Another run has `patience` seconds to release the file, which holds `content`.
  package init(
    _ destination: FileDestination, of content: String = "metrics", appending: Bool, patience: Double,
    warn: @escaping (String) -> Void
  ) throws {
    file = try destination.append()
    self.content = content
    self.warn = warn
    guard file.length != nil else { return }
    try file.claim(for: content, patience: patience)
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
      // An incomplete line would spoil the file for every reader.
      if let before { _ = ftruncate(file.descriptor, off_t(before)) }
      guard !hasWarned else { return }
      hasWarned = true
      warn("some \(content) will be missing: \(error); the run goes on")
    }
  }
}
