import Files
import Foundation

/// The emulated hosts that a job runs on, created by scripts/cluster.
package struct Cluster: Hashable {
  package let hosts: Int
  /// The number of ranks per host.
  package let ranksPerHost: Int
  /// The rate of each host's link, in the syntax of scripts/cluster: `100mbit`.
  package let rate: String
  /// The percentage of a core that the last host gets; nil if it is like the others.
  package let lastHostPercentage: Int?

  /// Hosts of `ranksPerHost` ranks each.
  package init(hosts: Int, ranksPerHost: Int, rate: String, lastHostPercentage: Int? = nil) {
    (self.hosts, self.ranksPerHost, self.rate) = (hosts, ranksPerHost, rate)
    self.lastHostPercentage = lastHostPercentage
  }

  /// The clusters of examples have their own name, so that they do not conflict with others.
  private static let environment = "MORSE_CLUSTER=examples"
  private static let script = "scripts/cluster"

  /// The prefix of a command that runs on it.
  static let runner = ["env", environment, script, "run"]

  /// The commands that create it, as they could be typed.
  var commands: [[String]] {
    let up = ["env", Cluster.environment, Cluster.script, "up", String(hosts), "--slots", String(ranksPerHost), "--rate", rate]
    guard let lastHostPercentage else { return [up] }
    return [up, ["env", Cluster.environment, Cluster.script, "slow", "node\(hosts)", String(lastHostPercentage)]]
  }

  /// Throws the reason if this machine cannot run a cluster.
  package static func check() throws { try call(["env", environment, script, "check"]) }

  func start() throws {
    do { for command in commands { try Cluster.call(command) } } catch {
      try? Cluster.stop()
      throw error
    }
  }

  static func stop() throws { try call(["env", environment, script, "down"]) }

  /// Runs a command to its end; if it fails, throws its error output.
  ///
  /// The hosts outlive the command.
  private static func call(_ command: [String]) throws {
    let words = FileManager.default.temporaryDirectory.appending(path: "examples-\(UUID().uuidString).log")
    defer { try? FileManager.default.removeItem(at: words) }
    let status = try ChildProcess(command, errors: words.path).wait()
    guard status == 0 else {
      let text = (try? String(contentsOf: words, encoding: .utf8)) ?? ""
      throw Failure(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }
}
