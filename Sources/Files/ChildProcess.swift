package import Glibc

/// A process that this one has started: its input is empty, and its outputs go to files.
///
/// Foundation's `Process` waits for all processes that inherit its pipes; this one waits for its child alone.
package struct ChildProcess {
  /// Its number.
  package let identifier: pid_t

  /// Starts `command`, which is looked for as a shell does.
  ///
  /// - Parameters:
  ///   - command: The program and its arguments.
  ///   - environment: Its environment, `NAME=VALUE` each; that of this process by default.
  ///   - output: The file of its standard output, which is replaced.
  ///   - errors: The file of its standard error, which is replaced.
  ///   - resetsSignals: Whether all signals have their defaults there, and none is blocked.
  /// - Throws: `FileError` if the program cannot be started.
  package init(
    _ command: [String], environment: [String]? = nil, output: String = "/dev/null", errors: String = "/dev/null",
    resetsSignals: Bool = false
  ) throws(FileError) {
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    if resetsSignals {
      var signals = sigset_t()
      sigemptyset(&signals)
      posix_spawnattr_setsigmask(&attributes, &signals)
      sigfillset(&signals)
      posix_spawnattr_setsigdefault(&attributes, &signals)
      posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    }
    let arguments = command.map { strdup($0) } + [nil]
    let variables = environment.map { $0.map { strdup($0) } + [nil] }
    defer { for text in arguments + (variables ?? []) { free(text) } }
    var identifier: pid_t = 0
    let code =
      if let variables {
        posix_spawnp(&identifier, command[0], &files, &attributes, arguments, variables)
      } else {
        posix_spawnp(&identifier, command[0], &files, &attributes, arguments, environ)
      }
    guard code == 0 else { throw FileError(operation: "start", path: command[0], code: code) }
    self.identifier = identifier
  }

  /// Waits for its end; returns the status as `waitpid` gives it.
  @discardableResult
  package func wait() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0 && errno == EINTR {}
    return status
  }
}
