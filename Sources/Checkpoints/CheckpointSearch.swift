internal import Buffers
package import Files
internal import Glibc

// A directory that holds a checkpoint's record is a checkpoint, whatever its name: users rename, copy and link them.
extension SavedRun {
  /// Whether `path` is a checkpoint, perhaps a damaged one: it holds a record of one, or a file named like one beside a model.
  package static func isCheckpoint(_ path: String) -> Bool {
    let beginning = Array("{\"format\":\"\(formatFamily)".utf8)
    do {
      let file = try File("\(path)/\(recordName)", .read)
      let buffer = ByteBuffer(count: min(try file.byteCount(), beginning.count))
      try file.read(into: buffer.bytes, at: 0)
      if Array(buffer.bytes) == beginning { return true }
    } catch { return false }
    return Directory.exists("\(path)/\(modelName)")
  }

  /// The names of the checkpoints in `directory`, most steps first; among equals, those named after their step first.
  ///
  /// Names that begin with a dot belong to unfinished checkpoints. A directory with a store's name counts as a checkpoint even
  /// if nothing in it is readable, so that its damage is reported.
  /// - Cost: the record of each is read.
  package static func names(in directory: String) throws(FileError) -> [String] {
    var found: [(name: String, step: Int)] = []
    for name in try Directory.names(in: directory) where !name.hasPrefix(".") {
      let path = "\(directory)/\(name)"
      guard step(ofDirectory: name) != nil || isCheckpoint(path) else { continue }
      let saved = (try? File.text("\(path)/\(recordName)")).flatMap { try? SavedRun(record: $0, path: path).step }
      found.append((name, saved ?? step(ofDirectory: name) ?? -1))
    }
    func rank(_ place: (name: String, step: Int)) -> (Int, Int) {
      (-place.step, step(ofDirectory: place.name) == place.step ? 0 : 1)
    }
    return found.sorted { rank($0) == rank($1) ? $0.name < $1.name : rank($0) < rank($1) }.map(\.name)
  }

  /// Throws if `directory` is a checkpoint or lies inside one: a store there would be removed with it.
  static func refuseStore(in directory: String) throws {
    guard let place = Directory.resolved(directory) else { return }
    var outer: String? = place
    while let path = outer, path != "/" {
      defer { outer = Directory.parent(of: path) }
      guard isCheckpoint(path), let parent = Directory.parent(of: path) else { continue }
      guard path == place else {
        throw CheckpointError(.configuration, "\(directory) lies inside the checkpoint \(path); name a directory outside of it")
      }
      // As the user named it, unless a link leads elsewhere.
      let named = Directory.parent(of: directory).flatMap { Directory.resolved($0) == parent ? $0 : nil }
      throw CheckpointError(
        .configuration,
        "\(directory) is a checkpoint; name its directory, \(named ?? parent), and add --resume to go on from the newest one "
          + "there, or copy this one into a directory of its own and name that to go on from here")
    }
  }
}

// A store removes only what a store has written.
extension SavedRun {
  /// Whether a store gives this name to a file of a checkpoint.
  private static func isFile(_ name: String) -> Bool {
    if name == modelName || name == recordName { return true }
    guard name.hasPrefix("state-"), name.hasSuffix(".safetensors") else { return false }
    return Int(name.dropFirst(6).dropLast(12)).map { $0 >= 0 && stateName(rank: $0) == name } ?? false
  }

  /// Whether `path` is a directory that holds only files of a checkpoint.
  ///
  /// It is not a link, nothing has been added to it, and it is not a checkpoint of a step other than its name's.
  static func isOwn(_ path: String, step: Int) -> Bool {
    guard Directory.isDirectory(path), !Directory.isLink(path), let names = try? Directory.names(in: path) else { return false }
    guard names.allSatisfy({ isFile($0) && !Directory.holdsAnything("\(path)/\($0)") }) else { return false }
    let saved = (try? File.text("\(path)/\(recordName)")).flatMap { try? SavedRun(record: $0, path: path).step }
    return saved == nil || saved == step
  }

  /// Removes the files of a checkpoint and their directory; anything that is not a store's own stays.
  static func removeOwn(_ path: String, step: Int) throws(FileError) {
    guard isOwn(path, step: step) else { return }
    for name in try Directory.names(in: path) { try Directory.remove("\(path)/\(name)") }
    try Directory.remove(path)
  }

  /// The name under which a checkpoint is written until it is complete.
  static func partialName(step: Int) -> String { ".\(directoryName(step: step)).partial" }

  /// The name under which a checkpoint is removed.
  static func retiredName(step: Int) -> String { ".\(directoryName(step: step)).old.partial" }

  /// The file by which ranks check that they share a directory.
  static func probeName(_ token: String, rank: Int) -> String { ".probe-\(token)-\(rank)" }

  /// Removes what a killed job left in `directory`; what cannot be removed stays, and does no harm.
  static func removeLeftovers(in directory: String) throws(FileError) {
    for name in try Directory.names(in: directory) where name.hasPrefix(".") {
      let path = "\(directory)/\(name)"
      if let step = step(ofDirectory: String(name.dropFirst().prefix { $0 != "." })),
        [partialName(step: step), retiredName(step: step)].contains(name)
      {
        try? removeOwn(path, step: step)
      }
      let words = name.split(separator: "-", omittingEmptySubsequences: false)
      if words.count == 3, let token = UInt64(words[1], radix: 16), let rank = Int(words[2]),
        name == probeName(hexadecimal(token), rank: rank), !Directory.isDirectory(path)
      {
        try? Directory.remove(path)
      }
    }
  }
}
