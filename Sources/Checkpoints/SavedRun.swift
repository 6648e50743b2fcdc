internal import Buffers
internal import Files
internal import FoundationEssentials

/// A checkpoint on disk, as described by its `run.json`.
public struct SavedRun: Hashable, Sendable {
  /// A file of the checkpoint, with its expected size and hash.
  struct FileRecord: Hashable, Sendable, Codable {
    let name: String
    let bytes: Int
    /// xxHash64 in 16 hexadecimal digits.
    let hash: String
  }

  /// The directory, for example `checkpoints/step-00000100`.
  public let path: String
  /// The number of steps done.
  public let step: Int
  /// The number of ranks that saved it.
  public let ranks: Int
  /// All options of that run, by name.
  public let options: [String: String]
  /// Values that all ranks share, as text.
  public let counters: [String: String]
  /// Where the ranks were; nil if it was saved by a version that did not record this.
  public let placement: Placement?
  /// Every other file of the directory.
  let files: [FileRecord]

  /// Checks that a run with `options` may resume from here.
  ///
  /// Throws with the names of the options that differ, except those in `exempt`; an option that one of the runs does not know
  /// also differs. The location of the data does not count: `check(data:of:)` compares the contents.
  public func check(_ options: [String: String], exempt: Set<String>) throws(CheckpointError) {
    let (saved, keepsData) = (settledOptions, counters["data"] != nil)
    func value(_ name: String, of options: [String: String]) -> String? {
      keepsData && name == "data" ? options[name].map(SavedRun.withoutPlace) : options[name]
    }
    let names = Set(saved.keys).union(options.keys).subtracting(exempt).sorted()
    let differing = names.filter { value($0, of: saved) != value($0, of: options) }
    guard !differing.isEmpty else { return }
    let list = differing.map { name in
      "--\(name) was \(saved[name] ?? "not given") and is now \(options[name] ?? "not given")"
    }
    throw CheckpointError(
      .configuration, "\(path) belongs to a run with other options: \(list.joined(separator: "; "))")
  }

  /// Checks that the run was trained on data with this fingerprint: files may have changed under the same name.
  package func check(data fingerprint: UInt64, of specification: String) throws(CheckpointError) {
    guard let saved = counters["data"], saved != hexadecimal(fingerprint) else { return }
    throw CheckpointError(
      .configuration, "\(path) belongs to a run on other data: what \(specification) holds is not what that run was trained on")
  }

  /// A data specification reduced to its name and keys, in a fixed order.
  private static func withoutPlace(_ text: String) -> String {
    guard let data = try? Specification(text) else { return text }
    return ([data.name] + data.options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }).joined(separator: ",")
  }

  /// The options, with those that follow from the number of ranks filled in if an older version did not write them.
  package var settledOptions: [String: String] {
    var options = self.options
    let shares = ranks / (options["model-parallel"].flatMap { Int($0) } ?? 1)
    if options["clients"] == nil && (options["partition"] ?? "iid") != "iid" { options["clients"] = String(shares) }
    if let clients = options["clients"].flatMap({ Int($0) }), options["sampled"] == nil {
      options["sampled"] = String(min(clients, shares))
    }
    return options
  }

  /// The name of the directory of a checkpoint after `step` steps.
  static func directoryName(step: Int) -> String { "step-" + padded(step, to: 8) }

  /// The step of a directory's name; nil if it is not the name of a checkpoint.
  static func step(ofDirectory name: String) -> Int? {
    guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, directoryName(step: step) == name else {
      return nil
    }
    return step
  }

  /// The file of a rank's state.
  static func stateName(rank: Int) -> String { "state-\(padded(rank, to: 5)).safetensors" }

  /// The file of the parameters.
  package static let modelName = "model.safetensors"
  /// The file of this description.
  static let recordName = "run.json"

  private static func padded(_ number: Int, to width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}

extension SavedRun {
  /// The prefix that the names of all formats share.
  static let formatFamily = "morse checkpoint "
  /// The version that is written.
  ///
  /// Version 1, which can also be read, has one place for all pieces of flat vectors in a file.
  private static let version = 2

  /// The key in a state file for the place of a piece of a flat vector.
  static func placeKey(of tensor: String) -> String { "owned.\(tensor)" }

  /// The text of `run.json`.
  ///
  /// Its last key is the hash of all text before it, so that damage to this file is detected too.
  var recordText: String {
    func object(_ texts: [String: String]) -> JSONValue {
      .object(texts.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })
    }
    let record: JSONValue = [
      "format": .string("\(Self.formatFamily)\(Self.version)"), "step": .integer(step), "ranks": .integer(ranks),
      "options": object(options), "counters": object(counters),
      "placement": placement?.json ?? .null,
      "files": .array(
        files.map { ["name": .string($0.name), "bytes": .integer($0.bytes), "hash": .string($0.hash)] }),
    ]
    let text = String(record.description.dropLast())
    return text + Self.hashMember(text) + "\n"
  }

  private static func hashMember(_ text: String) -> String { ",\"hash\":\"\(hexadecimal(XXHash64.hash(text)))\"}" }

  /// Reads what ``recordText`` wrote; throws if anything in it has changed.
  init(record text: String, path: String) throws(CheckpointError) {
    let name = "\(path)/\(Self.recordName)"
    let damaged = CheckpointError(.configuration, "\(name) is damaged")
    let covered = String(decoding: text.utf8.dropLast(Self.hashMember("").utf8.count + 1), as: UTF8.self)
    guard text == covered + Self.hashMember(covered) + "\n" else { throw damaged }
    struct Record: Decodable {
      let format: String
      let step: Int
      let ranks: Int
      let options: [String: String]
      let counters: [String: String]
      let placement: Placement?
      let files: [FileRecord]
    }
    guard let record = try? JSONDecoder().decode(Record.self, from: Data(text.utf8)) else { throw damaged }
    guard (1...Self.version).contains(where: { record.format == "\(Self.formatFamily)\($0)" }) else {
      throw CheckpointError(
        .configuration,
        "\(name) is of the format '\(record.format)'; this version knows '\(Self.formatFamily)1' to '\(Self.version)'")
    }
    // The names are fixed: only files in the checkpoint's own directory are read and removed.
    let names = [Self.modelName] + (0..<max(0, record.ranks)).map(Self.stateName)
    guard record.ranks > 0, record.step >= 0, record.files.map(\.name) == names else { throw damaged }
    self.init(
      path: path, step: record.step, ranks: record.ranks, options: record.options, counters: record.counters,
      placement: record.placement, files: record.files)
  }

  /// Compares one of the files with its record; reads the whole file.
  func verify(_ file: FileRecord) throws {
    let (hash, byteCount) = try File.hash("\(path)/\(file.name)")
    guard byteCount == file.bytes else {
      throw CheckpointError(.configuration, "\(path)/\(file.name) has \(byteCount) bytes, not \(file.bytes)")
    }
    guard hexadecimal(hash) == file.hash else {
      throw CheckpointError(.configuration, "\(path)/\(file.name) is damaged: its hash is not the one in \(Self.recordName)")
    }
  }
}
