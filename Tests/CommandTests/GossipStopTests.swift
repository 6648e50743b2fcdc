import Foundation
import Testing
import _TestSupport

/// Gossip runs that are asked to stop where no meeting is near: the word spreads, all end with the same step, and go on from there.
@Suite(.serialized, .outsideMPI) struct GossipStopTests {
  private func lines(_ path: String) -> [[String: Any]] {
    ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n").compactMap {
      try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }
  }

  @Test(arguments: ["gossip:method=choco", "gossip:method=push-sum,targets=random"]) func aStopEndsAllAtOneStep(
    _ strategy: String
  ) throws {
    let (ranks, directory) = (3, NSTemporaryDirectory() + "morse-stop-\(UUID().uuidString)")
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let metrics = directory + "/metrics.jsonl"
    let common = [
      "--data", "glyphs:train=20000,test=40", "--model", "mlp:24,16", "--minibatch", "60", "--quiet", "--schedule", "constant",
      "--learning-rate", "0.005", "--verify-every", "0", "--evaluate-every", "1000000", "--log-every", "2", "--strategy",
      strategy,
    ]
    let saving = ["--checkpoint", directory + "/saved", "--metrics", metrics, "--resume"]
    let pause = ["--inject-fault", "pause:rank=0,phase=data,step=9,seconds=0.7"]
    var job = Job("train", common + saving + ["--steps", "300"] + pause)
    job.timeLimit = 60
    let running = try job.start(ranks: ranks, options: ["-q"])
    wait { lines(metrics).contains { $0["event"] as? String == "step" && $0["step"] as? Int ?? 0 >= 4 } }
    let processes = processes(mentioning: metrics, childrenOf: running.processIdentifier)
    try #require(processes.count == ranks)
    kill(processes[1], SIGTERM)
    let stopped = running.wait()
    #expect(stopped.status == 75 && !stopped.isTimedOut, "\(stopped.standardError)")
    let step = try #require(
      stopped.standardError.firstMatch(of: /asked to stop by .* after step (\d+) of 300/).flatMap { Int($0.1) },
      "\(stopped.standardError)")
    #expect((4..<60).contains(step), "\(stopped.standardError)")
    let resumed = try Job("train", common + saving + ["--steps", "\(step + 3)"]).run(ranks: ranks, options: ["-q"])
    #expect(resumed.status == 0 && resumed.standardOutput.contains("after step \(step) of \(step + 3)"), "\(resumed)")
    // The stop and its meeting have changed nothing.
    let whole = directory + "/whole.jsonl"
    let again = try Job("train", common + ["--steps", "\(step + 3)", "--metrics", whole]).run(ranks: ranks, options: ["-q"])
    #expect(again.status == 0, "\(again.standardError)")
    let hash = lines(whole).last?["modelHash"] as? String
    #expect(hash != nil && lines(metrics).last?["modelHash"] as? String == hash)
  }
}
