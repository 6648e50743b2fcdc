import Foundation
import Testing
import _TestSupport

#if canImport(Glibc)
  import Glibc
#endif

/// The limit on the time without progress, under which the tests of several ranks run.
@Suite(.outsideMPI) struct WatchTests {
  /// What becomes of a script of bash that plays tests, each line of which is a test's when `say` writes it.
  private func watch(patience: Int, _ script: String, log: URL) throws -> JobResult {
    let root = URL(fileURLWithPath: #filePath).appending(path: "../../..").standardizedFileURL
    let say = "say() { echo \"[1,$1]<stderr>:◇ Test $2\"; }; "
    var job = Job(root.appending(path: "scripts/watch-tests").path, [log.path, "bash", "-c", say + script])
    job.environment["MORSE_TEST_PATIENCE"] = "\(patience)"
    job.timeLimit = 120
    return try job.run()
  }

  private func withLog<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appending(path: "morse-watch-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try body(directory.appending(path: "log.txt"))
  }

  /// What the tests print beside their beginnings and ends is no progress.
  @Test(arguments: ["sleep 1000", "while :; do echo 'still waiting for rank 2'; sleep 0.1; done"])
  func whatHangsIsEndedAndNamed(_ hang: String) throws {
    try withLog { log in
      let script = """
        for rank in 0 1 2; do say $rank "run started."; say $rank "isDone() started."; say $rank "isDone() passed after 0.1 seconds."; done
        for rank in 0 1 2; do say $rank 'hangs(_:) started.'; done; say 1 'hangs(_:) with 3 test cases passed after 0.1 seconds.'
        say 0 '"in words" started.'; echo $$ > \(log.path).process; \(hang)
        """
      let result = try watch(patience: 2, script, log: log)
      #expect(result.status == 124)
      #expect(result.standardError.split(separator: "\n").count == 1)
      #expect(result.standardError.contains("no test has begun or ended for 2 s"))
      #expect(result.standardError.contains("hangs(_:) (ranks 0, 2)"))
      #expect(result.standardError.contains("\"in words\" (ranks 0)"))
      #expect(!result.standardError.contains("isDone") && !result.standardError.contains("run (ranks"))
      let process = try Int32(String(contentsOf: URL(fileURLWithPath: log.path + ".process"), encoding: .utf8).dropLast())
      #expect(try kill(#require(process), 0) == -1, "the tests still run")
    }
  }

  @Test func aSlowRunMayTakeAsLongAsItNeeds() throws {
    try withLog { log in
      let result = try watch(
        patience: 6, "for turn in {1..36}; do say 0 \"t$turn() passed after 1 seconds.\"; sleep 0.25; done; exit 3", log: log)
      #expect(result.duration > .seconds(8))
      #expect(result.status == 3)
      #expect(result.standardError == "")
    }
  }
}
