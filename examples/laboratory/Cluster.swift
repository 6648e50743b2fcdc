import Foundation

/// The emulated hosts that a job runs on, created by scripts/cluster.
package struct Cluster: Hashable {
  package let hosts: Int
  /// The number of ranks per host.
  package let ranksPerHost: Int
  /// The rate of each host's link, in the syntax of scripts/cluster: `100mbit`.
  package let rate: String

  /// Hosts of `ranksPerHost` ranks each.
  package init(hosts: Int, ranksPerHost: Int, rate: String) {
    (self.hosts, self.ranksPerHost, self.rate) = (hosts, ranksPerHost, rate)
  }

  /// The clusters of examples have their own name, so that they do not conflict with others.
  private static let environment = "MORSE_CLUSTER=examples"
  private static let script = "scripts/cluster"

  /// The prefix of a command that runs on it.
  static let runner = ["env", environment, script, "run"]

  /// The command that creates it, as it could be typed.
  var command: [String] {
    ["env", Cluster.environment, Cluster.script, "up", String(hosts), "--slots", String(ranksPerHost), "--rate", rate]
  }

  /// Throws the reason if this machine cannot run a cluster.
  package static func check() throws { try call(["env", environment, script, "check"]) }

  func start() throws { try Cluster.call(command) }

  static func stop() throws { try call(["env", environment, script, "down"]) }

  /// Runs a command to its end; if it fails, throws its error output.
  ///
  /// It does not use `Process`, which waits for all processes that share its socket: the hosts outlive the command.
  private static func call(_ command: [String]) throws {
    let words = FileManager.default.temporaryDirectory.appending(path: "examples-\(UUID().uuidString).log")
    defer { try? FileManager.default.removeItem(at: words) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, words.path, O_WRONLY | O_CREAT, 0o600)
    var arguments = command.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    var process = pid_t()
    let code = posix_spawnp(&process, command[0], &actions, nil, &arguments, environ)
    guard code == 0 else { throw Failure("\(command[0]) cannot be started: \(String(cString: strerror(code)))") }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    guard status == 0 else {
      let text = (try? String(contentsOf: words, encoding: .utf8)) ?? ""
      throw Failure(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }
}
