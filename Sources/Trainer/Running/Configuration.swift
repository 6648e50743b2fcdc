internal import Checkpoints
internal import Files
public import Strategies
internal import Yams

extension TrainerOptions {
  /// Reads the options of a YAML file: one mapping whose keys are the names of options.
  ///
  /// An option whose value is null counts as not given.
  ///
  /// - Returns: The texts by name, in the file's order; the caller applies them before those of the command line.
  /// - Throws: ``OptionError`` that names the file, the line if there is one, and the key.
  public static func texts(ofConfiguration path: String) throws(OptionError) -> [(name: String, text: String)] {
    let bytes: [UInt8]
    do { bytes = try InputFile.bytes(of: path, limit: 1 << 26) } catch {
      throw OptionError("--config: \(error)", exitStatus: .configuration)
    }
    guard let yaml = String(validating: bytes, as: UTF8.self) else {
      throw OptionError("the configuration file '\(path)' is not UTF-8 text", exitStatus: .configuration)
    }
    return try texts(inYAML: yaml, of: path)
  }

  /// Reads options from YAML text; `path` is for error messages.
  package static func texts(inYAML yaml: String, of path: String) throws(OptionError) -> [(name: String, text: String)] {
    let node: Node?
    do { node = try Yams.compose(yaml: yaml) } catch {
      let reason = "\(error)".split(whereSeparator: \.isNewline).first.map(String.init) ?? "damaged"
      throw OptionError("'\(path)' is not YAML: \(reason)", exitStatus: .configuration)
    }
    guard let node, node.tag != Tag(.null) else { return [] }
    guard case .mapping(let mapping) = node else {
      throw OptionError("'\(path)' must hold one mapping of option names to values", exitStatus: .configuration)
    }
    var texts: [(name: String, text: String)] = []
    for (key, value) in mapping {
      let place = key.mark.map { "\(path):\($0.line)" } ?? path
      guard case .scalar(let name) = key else {
        throw OptionError("\(place): a key is the name of an option", exitStatus: .configuration)
      }
      do { _ = try field(name.string) } catch {
        throw OptionError("\(place): \(error.description)", exitStatus: .configuration)
      }
      guard case .scalar(let scalar) = value else {
        throw OptionError("\(place): '\(name.string)' takes one value, not a list or a mapping", exitStatus: .configuration)
      }
      if value.tag != Tag(.null) { texts.append((name.string, scalar.string)) }
    }
    return texts
  }

  /// Creates the defaults, overridden first by the file's texts, then by the command line's.
  public init(configuration path: String?, commandLine: [(name: String, text: String)]) throws(OptionError) {
    try self.init(
      path.map { (path) throws(OptionError) in (path, try TrainerOptions.texts(ofConfiguration: path)) }, commandLine)
  }

  /// Creates the defaults, overridden first by the texts read from a file, then by the command line's.
  public init(
    _ configuration: (path: String, texts: [(name: String, text: String)])?, _ commandLine: [(name: String, text: String)]
  ) throws(OptionError) {
    self.init()
    for (name, text) in configuration?.texts ?? [] {
      do { try give(name, text) } catch {
        throw OptionError("in '\(configuration?.path ?? "")': \(error.description)", exitStatus: .configuration)
      }
    }
    for (name, text) in commandLine { try give(name, text) }
  }
}
