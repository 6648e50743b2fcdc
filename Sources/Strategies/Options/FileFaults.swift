internal import Buffers
internal import Files

extension TrainerOptions {
  /// The faults in file names: two that are the same file, or an output over an input.
  ///
  /// - Parameter config: The file the options come from.
  func fileFaults(config: String?) -> [String] {
    let (data, checkpoint) = (self.data, self.checkpoint)
    let outputs: [FileConflicts.Named] = [
      ("metrics", self.metrics), ("timeline", self.timeline), ("output", self.output), ("record", self.record),
    ]
    var faults = FileConflicts.faults(
      outputs: [("checkpoint", checkpoint)] + outputs,
      inputs: [("config", config), ("replay", self.replay), ("init", self.initialModel)])
    guard let directory = try? Specification(data).values.first else { return faults }
    for case (let option, let name?) in outputs
    where FileConflicts.isFile(name, ending: ["ubyte", ".gz", ".wav"], in: [directory, directory + "/recordings"]) {
      faults.append("--\(option) \(name) is a file of --data \(data); name another")
    }
    return faults
  }
}
