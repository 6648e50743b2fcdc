import Foundation

/// A run of one of the package's programs that writes JSON lines.
package struct Job: Hashable {
  /// Its display name: `ReLU, 1 bit, seed 2`.
  package let name: String
  /// `train` or `bench`.
  package let program: String
  /// The number of ranks.
  package let ranks: Int
  /// The arguments of the program, without the file of its results.
  package let arguments: [String]
  /// The emulated hosts that the ranks run on; nil for this machine itself.
  package var cluster: Cluster?
  /// Its cost relative to the other runs of its table.
  package var weight = 1.0
  /// Whether its training may come to values that are not finite, which ends it; otherwise the table ends there.
  package var mayDiverge = false

  /// A run of `program`.
  package init(
    name: String, program: String, ranks: Int, arguments: [String], cluster: Cluster? = nil, weight: Double = 1
  ) {
    (self.name, self.program, self.ranks, self.arguments) = (name, program, ranks, arguments)
    (self.cluster, self.weight) = (cluster, weight)
  }

  /// Whether the program writes its lines to a metrics file rather than to standard output.
  var writesMetrics: Bool { program == "train" && arguments.first != "plan" }

  /// The command line, as it could be typed in the package's folder; `metrics` is the metrics file.
  func command(metrics: String) -> [String] {
    let call = [".build/release/\(program)"] + arguments + (writesMetrics ? ["--metrics", metrics] : [])
    if cluster != nil { return Cluster.runner + ["-np", String(ranks)] + call }
    return ranks == 1 ? call : ["mpirun", "-np", String(ranks)] + call
  }

  /// The key that runs with the same result share, usable in a file name.
  var key: String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in ((cluster?.commands.flatMap { $0 } ?? []) + command(metrics: "")).joined(separator: "\0").utf8 {
      hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
    }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// The JSON lines of a finished run.
package struct Report {
  package let job: Job
  package let lines: [[String: Any]]

  /// The lines of a file; nil if the file is missing or is not text.
  init?(_ job: Job, at file: URL) {
    guard let text = try? String(contentsOf: file, encoding: .utf8) else { return nil }
    self.job = job
    lines = text.split(separator: "\n").compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
  }

  /// Whether the run finished.
  var isWhole: Bool { job.writesMetrics ? end != nil : !lines.isEmpty }

  /// The last line of `train run`.
  package var end: [String: Any]? { lines.last { $0["event"] as? String == "end" } }

  /// Whether training came to values that are not finite, and nothing else is known of it.
  package var hasDiverged: Bool { end?["diverged"] as? Bool == true }

  /// What is kept of a run that has diverged.
  static let diverged = "{\"event\":\"end\",\"diverged\":true}\n"

  /// A number from the last line.
  package func number(_ key: String) throws -> Double {
    guard let value = (end ?? lines.last)?[key] as? Double else {
      throw Failure("the run '\(job.name)' does not tell its \(key)")
    }
    return value
  }
}

/// Why there is no table, in one sentence.
package struct Failure: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
