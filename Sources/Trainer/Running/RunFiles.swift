internal import Checkpoints
internal import Files

/// The files that a run writes beside its checkpoints; rank 0 finds out where they go.
struct RunFiles {
  let metrics: FileDestination?
  let timeline: FileDestination?
  let output: FileDestination?

  /// Finds out what the names stand for; nothing is opened or written.
  ///
  /// Throws where one of them cannot be such a file.
  init(_ options: TrainerOptions, ranks: Int, hosts: Int) throws {
    metrics = try options.metrics.map(FileDestination.init)
    timeline = try options.timeline.map(FileDestination.init)
    output = try options.output.map(FileDestination.init)
    guard let timeline else { return }
    if ranks > 1 && timeline.isDescriptor || hosts > 1 && !timeline.isFile {
      throw TrainingError("--timeline \(timeline.name) is written by all ranks: name a file", exitStatus: .usage)
    }
  }

  var all: [FileDestination] { [metrics, timeline, output].compactMap(\.self) }

  /// Says before the run, not after it, that one of them has nowhere to go.
  func open() throws(FileError) {
    for file in [metrics, output] { try file?.open() }
    // Ranks open it for themselves.
    if let timeline, timeline.isFile { try timeline.open() }
  }
}
