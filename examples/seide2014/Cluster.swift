import Foundation

/// Emulated hosts that a job runs on: scripts/cluster makes them.
struct Cluster: Hashable {
  let hosts: Int
  /// The ranks of a host.
  let ranksPerHost: Int
  /// The rate of each host's link, as scripts/cluster writes it: `100mbit`.
  let rate: String

  /// The clusters of this example have a name of their own, so that they meet no other.
  private static let environment = "MORSE_CLUSTER=seide2014"
  private static let script = "scripts/cluster"

  /// What runs a command on it.
  static let runner = ["env", environment, script, "run"]

  /// What makes it, as it could be typed.
  var command: [String] {
    ["env", Cluster.environment, Cluster.script, "up", String(hosts), "--slots", String(ranksPerHost), "--rate", rate]
  }

  /// Throws what keeps this machine from it.
  static func check() throws { try call(["env", environment, script, "check"]) }

  func start() throws { try Cluster.call(command) }

  static func stop() throws { try call(["env", environment, script, "down"]) }

  private static func call(_ command: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = Array(command.dropFirst())
    let output = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = output
    try process.run()
    let words = (try? output.fileHandleForReading.readToEnd()) ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Failure(String(decoding: words, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }
}
