import Foundation
import Testing
import _TestSupport

/// Asynchronous runs that are asked to stop where no meeting is near: they end with the step that has begun, and go on from there.
@Suite(.serialized, .outsideMPI) struct AsynchronousStopTests {
  /// Ranks, and how they work.
  private static let kinds: [(ranks: Int, arguments: [String])] = [
    (1, ["--strategy", "asgd"]),
    (2, ["--strategy", "asgd:workers=6,softsync=2", "--emulate-speed", "exp"]),
    (3, ["--strategy", "asgd", "--codec", "none"]),
    (4, ["--strategy", "dc-asgd:bound=1", "--partition", "by-class:5"]),
    (3, ["--strategy", "ad-psgd"]),
  ]

  private func lines(_ path: String) -> [[String: Any]] {
    ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n").compactMap {
      try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }
  }

  @Test(arguments: 0..<kinds.count) func aStopEndsTheStepThatHasBegun(_ number: Int) throws {
    let (ranks, kind) = Self.kinds[number]
    let directory = NSTemporaryDirectory() + "morse-stop-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let metrics = directory + "/metrics.jsonl"
    // One epoch is the whole run: the only meeting is at its end.
    let common =
      [
        "--data", "glyphs:train=20000,test=40", "--model", "mlp:24,16", "--minibatch", "60", "--quiet", "--schedule",
        "constant",
        "--learning-rate", "0.005", "--warm-start", "0", "--verify-every", "0", "--evaluate-every", "1000000", "--log-every",
        "2",
      ] + kind
    let saving = ["--checkpoint", directory + "/saved", "--metrics", metrics, "--resume", "--record", directory + "/events"]
    let pause = ["--inject-fault", "pause:rank=0,phase=data,step=9,seconds=0.7"]
    var job = Job("train", common + saving + ["--steps", "300"] + pause)
    job.timeLimit = 60
    let running = try job.start(ranks: ranks, options: ["-q"])
    // Rank 0 tells of its steps before any meeting.
    wait { lines(metrics).contains { $0["event"] as? String == "step" && $0["step"] as? Int ?? 0 >= 4 } }
    let processes = processes(mentioning: metrics, childrenOf: running.processIdentifier)
    try #require(processes.count == ranks)
    kill(processes[ranks / 2], SIGTERM)
    let stopped = running.wait()
    #expect(stopped.status == 75 && !stopped.isTimedOut, "\(stopped.standardError)")
    let step = try #require(
      stopped.standardError.firstMatch(of: /asked to stop by .* after step (\d+) of 300/).flatMap { Int($0.1) },
      "\(stopped.standardError)")
    #expect((4..<300).contains(step), "\(stopped.standardError)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/saved").count == 1)
    let told = lines(metrics).filter { $0["event"] as? String == "step" }
    #expect(told.dropLast().allSatisfy { $0["rank"] as? Int == 0 }, "\(told)")
    #expect(told.map { $0["step"] as! Int } == told.map { $0["step"] as! Int }.sorted())

    let resumed = try Job("train", common + saving + ["--steps", "\(step + 3)"]).run(ranks: ranks, options: ["-q"])
    #expect(resumed.status == 0 && resumed.standardOutput.contains("after step \(step) of \(step + 3)"), "\(resumed)")
    let end = try #require(lines(metrics).last { $0["event"] as? String == "end" })
    // The minibatches go on where they stopped, and each gradient is counted.
    let workers = kind[1].contains("workers=6") ? 6 : ranks
    let segments = lines(directory + "/events").map { [$0["first"] as! Int, $0["end"] as! Int] }
    #expect(segments == [[0, workers * step], [workers * step, workers * (step + 3)]], "\(segments)")
    let staleness = end["staleness"] as? [[Int]]
    let gradients = try #require(staleness?.map { $0.reduce(0, +) } ?? end["gradients"] as? [Int])
    #expect(gradients.count == workers && gradients.reduce(0, +) == workers * (step + 3), "\(gradients)")

    // The record repeats it, meeting and all.
    let replay = kind.filter { !["--emulate-speed", "exp"].contains($0) }
    let again = directory + "/again.jsonl"
    let arguments = common.dropLast(kind.count) + replay + ["--steps", "\(step + 3)", "--metrics", again]
    let replayed = try Job("train", arguments + ["--replay", directory + "/events"]).run(ranks: ranks, options: ["-q"])
    #expect(replayed.status == 0, "\(replayed.standardError)")
    #expect(lines(again).last?["modelHash"] as? String == end["modelHash"] as? String)
  }
}
