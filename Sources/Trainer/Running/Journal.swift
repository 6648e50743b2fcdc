internal import Glibc

/// What a run tells people and files; it lives on rank 0.
///
/// Summaries go to standard output, progress and warnings to standard error, events to the metrics file.
final class Journal {
  private let metrics: MetricsWriter?
  private let display: ProgressDisplay
  private let isSilent: Bool
  /// The share of test samples classified rightly at the last evaluation.
  var accuracy: Double?

  /// Opens the metrics file; of a run that may go on, its lines come after those that are there.
  init(_ options: TrainerOptions, isSilent: Bool) throws {
    self.isSilent = isSilent
    let display =
      isSilent
      ? ProgressDisplay(.quiet, write: { _ in })
      : ProgressDisplay(.suitable(isQuiet: options.quiet))
    self.display = display
    guard let path = options.metrics else {
      metrics = nil
      return
    }
    metrics = try MetricsWriter(path, appending: options.resume) { display.message("warning: \($0)") }
  }

  /// Prints a line of a summary.
  func say(_ text: String) {
    if isSilent { return }
    display.finish()
    // One write: what mpirun passes on must not wait in a buffer.
    Array("\(text)\n".utf8).withUnsafeBytes { bytes in _ = unsafe write(STDOUT_FILENO, bytes.baseAddress, bytes.count) }
  }

  /// Tells something that people should know and that ends nothing.
  func warn(_ text: String) {
    display.message("warning: \(text)")
    metrics?.write(WarningEvent(text))
  }

  /// Writes an event.
  func tell(_ event: any MetricsEvent) { metrics?.write(event) }

  /// Shows how far the run is, where it is time to.
  func show(_ progress: ProgressDisplay.Progress, isEvaluation: Bool = false) {
    if isEvaluation { display.evaluated(progress) } else { display.update(progress) }
  }
}
