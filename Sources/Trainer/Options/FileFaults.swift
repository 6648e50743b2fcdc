internal import Buffers
internal import Files

extension TrainerOptions {
  /// What is wrong with the names of files: two that are one file, or an output over something that is read.
  ///
  /// - Parameter config: The file that the options come from.
  func fileFaults(config: String?) -> [String] {
    let (data, checkpoint) = (self.data, self.checkpoint)
    let outputs: [FileConflicts.Named] = [("metrics", self.metrics), ("timeline", self.timeline), ("output", self.output)]
    var faults = FileConflicts.faults(outputs: [("checkpoint", checkpoint)] + outputs, inputs: [("config", config)])
    guard let directory = try? Specification(data).values.first else { return faults }
    for case (let option, let name?) in outputs
    where FileConflicts.isFile(name, ending: ["ubyte", ".gz", ".wav"], in: [directory, directory + "/recordings"]) {
      faults.append("--\(option) \(name) is a file of --data \(data); name another")
    }
    return faults
  }
}
