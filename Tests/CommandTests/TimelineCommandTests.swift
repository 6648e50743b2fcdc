import Foundation
import Testing
import _TestSupport
@testable import _TrainingSupport

/// `train --timeline` where something fails.
@Suite(.serialized, .outsideMPI) struct TimelineCommandTests {
  private let small = ["--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--quiet"]

  private func temporary() -> String { NSTemporaryDirectory() + "morse-timeline-\(UUID().uuidString)" }

  /// Starts a long run, kills some of its ranks when all have done steps, and reads what is left.
  private func remains(killing killed: (_ ranks: [Int32]) -> ArraySlice<Int32>) throws -> TraceReader {
    let path = temporary()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let running = try Job("train", small + ["--steps", "1000000", "--timeline", path]).start(ranks: 3)
    // A third minibatch is made after two steps. The file grows fast: its beginning is enough.
    func hasBegun() -> Bool {
      let text = (try? FileHandle(forReadingAtPath: path)?.read(upToCount: 1 << 22)) ?? Data()
      return (0..<3).allSatisfy { rank in
        let minibatch = Data("\"pid\":\(rank),\"tid\":0},\n{\"name\":\"data\"".utf8)
        var (count, rest) = (0, text[...])
        while count < 3, let place = rest.range(of: minibatch) { (count, rest) = (count + 1, rest[place.upperBound...]) }
        return count == 3
      }
    }
    wait { hasBegun() }
    let ranks = processes(mentioning: path, childrenOf: running.processIdentifier)
    try #require(ranks.count == 3)
    for rank in killed(ranks) { kill(rank, SIGKILL) }
    #expect(running.wait().status != 0)
    let trace = try TraceReader(path)
    #expect(trace.isCutShort)
    return trace
  }

  @Test func aKilledRankLeavesWhatItDid() throws {
    let trace = try remains { $0[1...1] }
    for rank in 0..<3 { #expect(trace.spans("step", of: rank).count > 1) }
  }

  @Test func aKilledJobLeavesWhatItDid() throws {
    let trace = try remains { $0[...] }
    for rank in 0..<3 { #expect(trace.spans("step", of: rank).count > 1) }
  }

  @Test func aFileThatCannotBeWrittenEndsTheRunAtItsStart() throws {
    for (path, words) in [("/nowhere/t.json", "No such file"), ("/", "directory"), ("/dev/full", "No space left")] {
      let result = try Job("train", small + ["--steps", "2", "--timeline", path]).run(ranks: 2)
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("train: ") }
      #expect(result.status == 74 && sentences.count == 1 && sentences[0].contains(words), "\(result.standardError)")
    }
  }

  @Test func aDiskThatFillsUpEndsNoRun() throws {
    let path = temporary()
    defer { try? FileManager.default.removeItem(atPath: path) }
    // A limit of the size of files stands for the disk: 16 KiB, which is too little for memory that ranks share.
    let train = Job("train").executable
    let call = ([train] + small + ["--steps", "200", "--timeline", path]).map { "'\($0)'" }.joined(separator: " ")
    let result = try Job("/bin/sh", ["-c", "ulimit -f 32; exec \(call)"]).run()
    #expect(result.status == 0, "\(result.standardError)")
    let sentences = result.standardError.components(separatedBy: "some of the timeline")
    #expect((2...3).contains(sentences.count) && sentences[1].contains("cannot write \(path)"), "\(result.standardError)")
    // What fitted is whole.
    #expect(try TraceReader(path).events.count > 1)
  }
}
