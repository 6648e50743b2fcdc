import Foundation
import Testing
import _TestSupport

/// What ranks say that are asked to end.
@Suite(.serialized, .outsideMPI) struct EndingTests {
  /// A batch system tells every rank; one of them needs longer for its step than the others, and all end in order.
  @Test func aSlowStepIsNoLostJob() throws {
    let directory = NSTemporaryDirectory() + "morse-ending-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let running = try Job(
      "train",
      [
        "--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--quiet", "--steps", "1000000",
        "--checkpoint", directory, "--checkpoint-every", "50",
      ]
    ).start(ranks: 3)
    func names() -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] }
    for _ in 0..<300 where !names().contains(where: { $0.hasPrefix("step-") }) { Thread.sleep(forTimeInterval: 0.1) }
    let ranks = processes(mentioning: directory, childrenOf: running.processIdentifier)
    try #require(ranks.count == 3)
    kill(ranks[1], SIGSTOP)
    for rank in ranks { kill(rank, SIGTERM) }
    Thread.sleep(forTimeInterval: 1.5)
    kill(ranks[1], SIGCONT)
    let ended = running.wait()
    let words = ended.standardError
    #expect(ended.status == 75 && words.contains("asked to stop by SIGTERM"), "\(ended.status): \(words)")
    #expect(!words.contains("was asked to end") && !words.contains("lost"), "\(words)")
  }

  /// A rank that has ended is known by the others of its host, who say so and how to go on.
  @Test func aLostRankIsNamed() throws {
    let directory = NSTemporaryDirectory() + "morse-ending-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let job = Job(
      "train",
      [
        "--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--quiet", "--steps", "20",
        "--checkpoint", directory, "--inject-fault", "kill:rank=0,phase=agreement,step=3",
      ])
    let ended = try job.run(ranks: 3)
    #expect(
      ended.standardError.contains("rank 1 was asked to end because rank 0 has ended: start it again with --resume"),
      "\(ended.standardError)")
  }
}
