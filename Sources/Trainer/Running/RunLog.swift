internal import Files
internal import Glibc
internal import Reporting
internal import Strategies

/// The output of a run to users and files; it exists on rank 0.
///
/// Summaries go to standard output, progress and warnings to standard error, events to the metrics file.
final class RunLog {
  private let metrics: MetricsWriter?
  private let events: MetricsWriter?
  private let display: ProgressDisplay
  private let isSilent: Bool
  /// Where the final model is written; nil if it is not.
  let output: FileDestination?
  /// Whether summaries go to standard output: they would corrupt a file that is written there.
  private let ownsStandardOutput: Bool
  /// Why part of the summaries is missing; nil if nothing is.
  private(set) var loss: FileError?
  /// The share of the targets of test samples classified correctly at the last evaluation.
  var accuracy: Double?

  /// Opens the files; a run that may resume appends to existing ones.
  ///
  /// Another run has `patience` seconds to release them.
  init(_ options: TrainerOptions, _ files: RunFiles, isSilent: Bool, patience: Double) throws {
    self.isSilent = isSilent
    output = files.output
    ownsStandardOutput = !files.all.contains { $0.isStandardOutput }
    let display =
      isSilent
      ? ProgressDisplay(.quiet, write: { _ in })
      : ProgressDisplay(.suitable(isQuiet: options.quiet))
    self.display = display
    // Before the metrics of an earlier run are lost.
    try files.open()
    metrics = try files.metrics.map { file in
      try MetricsWriter(file, appending: options.resume, patience: patience) { display.message("warning: \($0)") }
    }
    events = try files.record.map { file in
      try MetricsWriter(file, of: "events", appending: options.resume, patience: patience) {
        display.message("warning: \($0)")
      }
    }
  }

  /// Prints a line of a summary; if that fails, the run continues with a warning.
  func say(_ text: String) {
    if isSilent { return }
    display.finish()
    // One write: what mpirun forwards must not wait in a buffer.
    guard ownsStandardOutput else { return Terminal.write("\(text)\n") }
    do { try StandardStreams.write("\(text)\n") } catch {
      if loss == nil { warn("\(error); the run goes on") }
      loss = error
    }
  }

  /// Prints and logs a warning.
  func warn(_ text: String) {
    display.message("warning: \(text)")
    metrics?.write(WarningEvent(text))
  }

  /// Writes an event.
  func tell(_ event: any MetricsEvent) { metrics?.write(event) }

  /// Records the order of events.
  func record(_ line: EventLine) { events?.write(line) }

  /// Shows the progress of the run, if it is time to.
  func show(_ progress: ProgressDisplay.Progress, isEvaluation: Bool = false) {
    if isEvaluation { display.evaluated(progress) } else { display.update(progress) }
  }
}
