import Files
import Foundation
import Glibc

/// A process that a test started.
///
/// Not Foundation's `Process`: it learns of an end through a socket that other children of the tests inherit, and would wait for
/// those, too; and children would begin with the signals blocked that test threads block.
public final class RunningJob: @unchecked Sendable {
  /// The process, for signals.
  public let processIdentifier: Int32
  private let begin = ContinuousClock.now
  private let timeLimit: Double
  private let output: URL
  private let errors: URL
  /// As `waitpid` gave it, once the process has ended.
  private var ending: Int32?

  init(
    _ path: String, _ arguments: [String], environment: [String: String], directory: String?, timeLimit: Double
  ) throws {
    self.timeLimit = timeLimit
    // Files, not pipes: a rank that outlives its launcher would keep a pipe open, and the test would wait for it for ever.
    let folder = FileManager.default.temporaryDirectory
    let name = "job-\(UUID().uuidString)"
    output = folder.appending(path: name + ".out")
    errors = folder.appending(path: name + ".err")

    let place = directory.map { ["/usr/bin/env", "--chdir=\($0)"] } ?? []
    processIdentifier = try ChildProcess(
      place + [path] + arguments, environment: environment.map { "\($0)=\($1)" }, output: output.path, errors: errors.path,
      resetsSignals: true
    ).identifier
  }

  /// What it has written to standard output until now.
  public var standardOutputSoFar: String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

  /// Waits for its end, or ends it after the time limit.
  public func wait() -> JobResult {
    // mpirun ends the job by its own limit first; this one is for what hangs in spite of it.
    waitForEnd(until: begin.advanced(by: .seconds(timeLimit + 5)))
    let isTimedOut = ending == nil
    for signal in [SIGTERM, SIGKILL] where ending == nil {
      kill(processIdentifier, signal)
      waitForEnd(until: .now.advanced(by: .seconds(3)))
    }
    defer { for file in [output, errors] { try? FileManager.default.removeItem(at: file) } }
    // The low seven bits name a signal, the next byte is the status of an exit.
    let code = ending ?? SIGKILL
    return JobResult(
      status: code & 0x7F == 0 ? code >> 8 & 0xFF : 128 + code & 0x7F, standardOutput: standardOutputSoFar,
      standardError: (try? String(contentsOf: errors, encoding: .utf8)) ?? "", isTimedOut: isTimedOut,
      duration: begin.duration(to: .now))
  }

  private func waitForEnd(until deadline: ContinuousClock.Instant) {
    while ending == nil && ContinuousClock.now < deadline {
      var status: Int32 = 0
      if waitpid(processIdentifier, &status, WNOHANG) == processIdentifier { ending = status } else { usleep(2_000) }
    }
  }
}
