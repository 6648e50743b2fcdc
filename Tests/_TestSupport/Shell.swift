public import Foundation

/// Lines of bash in a temporary directory of their own, in which `$train` and `$bench` are the programs, and `$train $small` is a run of
/// six steps.
public final class Shell {
  /// The directory; it is removed in the end.
  public let path: String

  /// A shell in a new directory.
  public init() throws {
    path = NSTemporaryDirectory() + "morse-shell-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Runs a script to its end.
  public func run(_ script: String) throws -> JobResult {
    var job = Job("/bin/bash", ["-c", script])
    job.environment = [
      "train": Job("train").executable, "bench": Job("bench").executable,
      "small": "--data glyphs:train=60,test=20 --model mlp:8 --minibatch 20 --steps 6 --log-every 1 --quiet",
    ]
    job.directory = path
    job.timeLimit = 240
    return try job.run()
  }

  /// The standard output of a script that must end well.
  @discardableResult
  public func output(_ script: String) throws -> String {
    let result = try run(script)
    guard result.status == 0 else { throw Failure(description: "\(script): \(result.status) \(result.standardError)") }
    return result.standardOutput
  }

  /// What a script said that had to end well.
  public struct Failure: Error, CustomStringConvertible {
    public let description: String
  }

  /// The bytes of a file in the directory.
  public func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")) }

  /// The text of a file in the directory.
  public func text(_ name: String) throws -> String { String(decoding: try data(name), as: UTF8.self) }

  /// The names in the directory, those that begin with a dot too.
  public func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }

  /// The events of a metrics file, of which every line must be one.
  public func events(_ name: String) throws -> [String] {
    try text(name).split(separator: "\n").map {
      let line = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
      guard let event = line?["event"] as? String else { throw Failure(description: "no event: \($0)") }
      return event
    }
  }

  /// What a run of `$small` tells in its metrics.
  public static let eventsOfSmall = [
    "start", "step", "step", "step", "epoch", "step", "step", "step", "epoch", "end",
  ]
}
