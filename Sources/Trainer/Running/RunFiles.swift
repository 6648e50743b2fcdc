internal import Checkpoints
internal import Files
internal import Strategies

/// The files that a run writes besides its checkpoints; rank 0 resolves their destinations.
struct RunFiles {
  let metrics: FileDestination?
  let timeline: FileDestination?
  let output: FileDestination?
  let record: FileDestination?

  /// Resolves the names; nothing is opened or written.
  ///
  /// Throws if one of them cannot be such a file.
  init(_ options: TrainerOptions, ranks: Int, hosts: Int) throws {
    metrics = try options.metrics.map(FileDestination.init)
    timeline = try options.timeline.map(FileDestination.init)
    output = try options.output.map(FileDestination.init)
    record = try options.record.map(FileDestination.init)
    guard let timeline else { return }
    if ranks > 1 && timeline.isDescriptor || hosts > 1 && !timeline.isFile {
      throw TrainingError("--timeline \(timeline.name) is written by all ranks: name a file", exitStatus: .usage)
    }
  }

  var all: [FileDestination] { [metrics, timeline, output, record].compactMap(\.self) }

  /// Fails before the run, not after it, if one of them cannot be written.
  func open() throws(FileError) {
    for file in [metrics, output, record] { try file?.open() }
    // Each rank opens it itself.
    if let timeline, timeline.isFile { try timeline.open() }
  }
}
