import Files
import Foundation
import Reporting

/// Runs jobs one after another and keeps their results, so that an interrupted table resumes where it stopped.
///
/// A result is kept under the command line that made it: `KEY.jsonl` holds the results of the run, `KEY.log` its messages, and
/// `commands` the command line of each key.
package final class Laboratory {
  private let folder: URL
  private let runsAgain: Bool
  private let width = Terminal.width
  /// The number of runs that were made rather than found.
  package private(set) var runCount = 0

  /// A laboratory with its results in `folder`; with `runsAgain`, existing results are ignored.
  package init(folder: String, runsAgain: Bool) throws {
    self.folder = URL(fileURLWithPath: folder)
    self.runsAgain = runsAgain
    guard FileManager.default.fileExists(atPath: "scripts/environment.sh") else {
      throw Failure("this is not the package's folder; go there, because programs and scripts are found from it")
    }
    do {
      try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
    } catch { throw Failure("the folder of results \(folder) cannot be made: \(error.localizedDescription)") }
    StopSignal.install()
  }

  /// The reports of all jobs, from earlier runs if there are any.
  package func run(_ jobs: [Job]) throws -> [Report] {
    var known: [Job: Report] = [:]
    if !runsAgain {
      for job in jobs { known[job] = kept(job) }
    }
    var missing: [Job] = []
    for job in jobs where known[job] == nil && !missing.contains(job) { missing.append(job) }
    if !missing.isEmpty { try prepare(for: missing) }

    var cluster: Cluster?
    defer { if cluster != nil { try? Cluster.stop() } }
    let start = ContinuousClock.now
    var doneWeight = 0.0
    let allWeight = missing.reduce(0) { $0 + $1.weight }
    for (index, job) in missing.enumerated() {
      if job.cluster != cluster {
        if cluster != nil { try Cluster.stop() }
        cluster = nil
        try job.cluster?.start()
        cluster = job.cluster
      }
      known[job] = try run(job) { share, progress in
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let done = doneWeight + share * job.weight
        let left = done > 0 ? "  \(duration(seconds / done * (allWeight - done))) left in all" : ""
        return "run \(index + 1)/\(missing.count): \(job.name)\(left)  \(progress)"
      }
      doneWeight += job.weight
    }
    show(nil)
    return try jobs.map { job in
      guard let report = known[job] else { throw Failure("the run '\(job.name)' left no result") }
      return report
    }
  }

  private func file(_ job: Job, _ ending: String) -> URL { folder.appending(path: "\(job.key).\(ending)") }

  private func kept(_ job: Job) -> Report? {
    Report(job, at: file(job, "jsonl")).flatMap { $0.isWhole ? $0 : nil }
  }

  private func prepare(for jobs: [Job]) throws {
    for program in Set(jobs.map(\.program)) where !FileManager.default.isExecutableFile(atPath: ".build/release/\(program)") {
      throw Failure("there is no .build/release/\(program); build it with: swift build -c release")
    }
    let path = folder.appending(path: "commands")
    var text = (try? String(contentsOf: path, encoding: .utf8)) ?? ""
    for job in jobs where !text.contains(job.key) {
      let cluster = job.cluster.map { $0.commands.map { $0.joined(separator: " ") + " && " }.joined() } ?? ""
      text += "\(job.key)  \(cluster)\(job.command(metrics: "\(job.key).jsonl").joined(separator: " "))\n"
    }
    try FileDestination(path.path).write(Array(text.utf8))
  }

  /// Runs one job to its end; `line` makes the progress line from the share done and the program's last line of output.
  private func run(_ job: Job, line: (Double, String) -> String) throws -> Report {
    let (partial, log) = (file(job, "partial"), file(job, "log"))
    for file in [partial, log] { try Data().write(to: file) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments =
      ["-c", "source scripts/environment.sh && exec \"$@\"", "bash"] + job.command(metrics: partial.path)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(
      forWritingTo: job.writesMetrics ? log : partial)
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()

    if width == nil { Terminal.write(line(0, "") + "\n") }
    var isStopped = false
    while process.isRunning {
      if StopSignal.isRequested && !isStopped {
        isStopped = true
        process.terminate()
      }
      let words = lastWords(of: log)
      show(line(share(in: words), words))
      Thread.sleep(forTimeInterval: 0.25)
    }
    if StopSignal.isRequested {
      show(nil)
      throw Failure("stopped; the same command goes on with the run '\(job.name)'")
    }
    // The status of a run whose values are not finite.
    let hasDiverged = job.mayDiverge && process.terminationStatus == 65 && complaint(in: log).contains("not finite")
    if hasDiverged { try Data(Report.diverged.utf8).write(to: partial) }
    guard hasDiverged || process.terminationStatus == 0, let report = Report(job, at: partial), report.isWhole else {
      show(nil)
      throw Failure(
        "the run '\(job.name)' ended with status \(process.terminationStatus): \(complaint(in: log)); see \(log.path)")
    }
    runCount += 1
    guard rename(partial.path, file(job, "jsonl").path) == 0 else {
      throw Failure("\(partial.path) cannot be renamed: \(String(cString: strerror(errno)))")
    }
    return report
  }

  // MARK: - Display

  /// Replaces the previous line on a terminal; nil removes it.
  private func show(_ line: String?) {
    guard let width else { return }
    Terminal.write("\r\u{1B}[K" + (line ?? "").prefix(max(width - 1, 0)))
  }

  private func lastWords(of log: URL) -> String {
    let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").last.map(String.init) ?? ""
  }

  /// The share of a run that is done, from its progress line: `step 12/940`.
  private func share(in words: String) -> Double {
    guard let match = words.firstMatch(of: /step (\d+)\/(\d+)/), let step = Double(match.1), let steps = Double(match.2) else {
      return 0
    }
    return step / steps
  }

  /// The program's error message, or its last line.
  private func complaint(in log: URL) -> String {
    let lines = ((try? String(contentsOf: log, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
    let own = lines.first { line in ["train: ", "bench: ", "cluster: "].contains { line.hasPrefix($0) } }
    return own ?? lines.last ?? "it said nothing"
  }
}
