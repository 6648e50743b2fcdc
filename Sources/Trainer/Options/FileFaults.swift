internal import Buffers

extension TrainerOptions {
  /// What is wrong with the names of files: two that are one file, or an output over something that is read.
  ///
  /// - Parameter config: The file that the options come from.
  func fileFaults(config: String?) -> [String] {
    let outputs: [FileConflicts.Named] = [("metrics", metrics), ("timeline", timeline), ("output", output)]
    var faults = FileConflicts.faults(outputs: [("checkpoint", checkpoint)] + outputs, inputs: [("config", config)])
    guard let directory = try? Specification(data).values.first else { return faults }
    for case (let option, let name?) in outputs where isFile(name, of: directory) {
      faults.append("--\(option) \(name) is a file of --data \(data); name another")
    }
    return faults
  }

  /// Whether `name` is one of the files in a directory of data.
  private func isFile(_ name: String, of directory: String) -> Bool {
    let endings = ["ubyte", ".gz", ".wav"]
    guard endings.contains(where: { name.lowercased().hasSuffix($0) }), Directory.exists(name),
      let parent = Directory.parent(of: name)
    else { return false }
    return [directory, directory + "/recordings"].contains { FileConflicts.areSame(parent, $0) }
  }
}
