internal import Glibc

/// Names that refer to the same file, however they are spelled.
public enum FileConflicts {
  /// An option and the file that it names, if it was given.
  public typealias Named = (option: String, name: String?)

  /// One sentence for each fault in the names of outputs.
  ///
  /// A fault is two outputs that are one file, or one that is also read or that standard output or error goes to. Nothing is
  /// opened or written.
  public static func faults(outputs: [Named], inputs: [Named] = []) -> [String] {
    let written = known(outputs, standard: STDOUT_FILENO)
    let read = known(inputs, standard: STDIN_FILENO)
    var faults: [String] = []
    for (index, output) in written.enumerated() {
      for other in written[..<index] where !other.identities.isDisjoint(with: output.identities) {
        faults.append(
          "--\(other.option) \(other.name) and --\(output.option) \(output.name) are one file; each needs one of its own")
      }
      for input in read where !input.identities.isDisjoint(with: output.identities) {
        faults.append("--\(output.option) \(output.name) is what --\(input.option) \(input.name) reads; name another file")
      }
      for (number, stream, spelling) in [
        (STDOUT_FILENO, "standard output", "-"), (STDERR_FILENO, "standard error", "/dev/stderr"),
      ] {
        guard let file = identity(of: number), output.identities.contains(file),
          !output.identities.contains(where: { if case .descriptor = $0 { true } else { false } })
        else { continue }
        faults.append(
          "--\(output.option) \(output.name) is the file that \(stream) goes to; write --\(output.option) \(spelling)")
      }
    }
    return faults
  }

  /// Whether `name` is a file in one of these directories with one of these endings, in any letter case.
  package static func isFile(_ name: String, ending endings: [String], in directories: [String]) -> Bool {
    guard case .path(let path, S_IFREG?)? = try? FileName.target(of: name, standard: STDOUT_FILENO, to: "write") else {
      return false
    }
    let last = String(decoding: FileName.last(of: path).map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
    var (parent, directory) = (stat(), stat())
    guard endings.contains(where: last.hasSuffix), stat(FileName.parent(of: path), &parent) == 0 else { return false }
    return directories.contains { name in
      stat(name, &directory) == 0 && (parent.st_dev, parent.st_ino) == (directory.st_dev, directory.st_ino)
    }
  }

  private enum Identity: Hashable {
    case descriptor(Int32)
    case file(device: UInt, number: UInt)
    /// A name in a directory that does not exist there yet.
    case entry(device: UInt, number: UInt, name: [CChar])
  }

  private static func known(
    _ files: [Named], standard: Int32
  ) -> [(option: String, name: String, identities: Set<Identity>)] {
    files.compactMap { option, name in name.map { (option, $0, identities(of: $0, standard: standard)) } }
  }

  /// Empty for what any number of outputs can share, such as `/dev/null`, and for what cannot be written anyway.
  private static func identities(of name: String, standard: Int32) -> Set<Identity> {
    switch try? FileName.target(of: name, standard: standard, to: "write") {
    case nil: return []
    case .descriptor(let number)?: return Set([.descriptor(number), identity(of: number)].compactMap(\.self))
    case .path(let path, let kind?)?:
      var information = stat()
      guard kind != S_IFCHR, stat(path, &information) == 0 else { return [] }
      return [.file(device: UInt(information.st_dev), number: UInt(information.st_ino))]
    case .path(let path, nil)?: return [entry(path)]
    }
  }

  /// The file that a descriptor is open on; nil for a device.
  private static func identity(of descriptor: Int32) -> Identity? {
    var information = stat()
    guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT != S_IFCHR else { return nil }
    return .file(device: UInt(information.st_dev), number: UInt(information.st_ino))
  }

  /// Where a file would be created, relative to the nearest existing directory.
  private static func entry(_ path: [CChar]) -> Identity {
    var (directory, name) = (FileName.parent(of: path), FileName.last(of: path))
    var information = stat()
    while stat(directory, &information) != 0, directory.count > 2 {
      let part = FileName.last(of: directory)
      if !part.isEmpty && part != [CChar(bitPattern: UInt8(ascii: "."))] {
        name = part + [CChar(bitPattern: UInt8(ascii: "/"))] + name
      }
      directory = FileName.parent(of: directory)
    }
    return .entry(device: UInt(information.st_dev), number: UInt(information.st_ino), name: name)
  }
}
