import Foundation

#if canImport(Glibc)
  import Glibc
#endif

/// A process that a test started.
public final class RunningJob: @unchecked Sendable {
  private let process = Process()
  private let begin = ContinuousClock.now
  private let timeLimit: Double
  private let output: URL
  private let errors: URL

  init(
    _ path: String, _ arguments: [String], environment: [String: String], directory: String?, timeLimit: Double
  ) throws {
    self.timeLimit = timeLimit
    // Files, not pipes: a rank that outlives its launcher would keep a pipe open, and the test would wait for it for ever.
    let folder = FileManager.default.temporaryDirectory
    let name = "job-\(UUID().uuidString)"
    output = folder.appending(path: name + ".out")
    errors = folder.appending(path: name + ".err")
    for file in [output, errors] { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = environment
    if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
  }

  /// The process, for signals.
  public var processIdentifier: Int32 { process.processIdentifier }

  /// What it has written to standard output until now.
  public var standardOutputSoFar: String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

  /// Waits for its end, or ends it after the time limit.
  public func wait() -> JobResult {
    // mpirun ends the job by its own limit first; this one is for what hangs in spite of it.
    let deadline = begin.advanced(by: .seconds(timeLimit + 5))
    while process.isRunning && ContinuousClock.now < deadline { usleep(5_000) }
    let isTimedOut = process.isRunning
    if isTimedOut {
      process.terminate()
      let patience = ContinuousClock.now.advanced(by: .seconds(3))
      while process.isRunning && ContinuousClock.now < patience { usleep(5_000) }
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }
    process.waitUntilExit()
    defer { for file in [output, errors] { try? FileManager.default.removeItem(at: file) } }
    return JobResult(
      status: process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus,
      standardOutput: standardOutputSoFar, standardError: (try? String(contentsOf: errors, encoding: .utf8)) ?? "",
      isTimedOut: isTimedOut, duration: begin.duration(to: .now))
  }
}
