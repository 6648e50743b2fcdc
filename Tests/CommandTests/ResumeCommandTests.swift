import Buffers
import Foundation
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// The program `train` goes on with what it was stopped in, wherever things are by then.
@Suite(.serialized, .outsideMPI) struct ResumeCommandTests {
  private let small = ["--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--quiet"]

  private func temporary() throws -> String {
    let path = NSTemporaryDirectory() + "morse-resume-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  private func run(_ arguments: [String], ranks: Int = 1, in directory: String? = nil) throws -> JobResult {
    var job = Job("train", arguments)
    job.directory = directory
    job.timeLimit = 120
    return try ranks == 1 ? job.run() : job.run(ranks: ranks, options: ["-q"])
  }

  /// What stands behind `key` in a line of what a run has printed.
  private func word(after key: String, in text: String) -> String? {
    text.components(separatedBy: key).dropFirst().first.map { String($0.prefix { !$0.isWhitespace && $0 != "," }) }
  }

  private func writeImages(in directory: String, label: (Int) -> UInt8 = { UInt8($0 % 10) }) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    func write(_ name: String, _ header: [UInt8], _ count: Int, _ value: (Int) -> UInt8) throws {
      try Data(header + (0..<count).map(value)).write(to: URL(filePath: "\(directory)/\(name)"))
    }
    for split in ["train", "t10k"] {
      try write("\(split)-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 2], 160) { UInt8($0 % 97) }
      try write("\(split)-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 40], 40, label)
    }
  }

  @Test func dataMayLieElsewhereButNotBeOthers() throws {
    let directory = try temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try writeImages(in: directory + "/data")
    func train(_ data: String, steps: Int) throws -> JobResult {
      try run(
        [
          "--data", data, "--model", "softmax", "--minibatch", "8", "--quiet", "--checkpoint", "saved", "--resume", "--steps",
          "\(steps)",
        ],
        in: directory)
    }
    #expect(try train("idx:\(directory)/data", steps: 3).status == 0)
    // By another path, by a link, and moved.
    try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: "data")
    for (index, data) in ["idx:data", "idx:link", "idx:\(directory)/link/../data/"].enumerated() {
      let resumed = try train(data, steps: 4 + index)
      #expect(
        resumed.status == 0 && resumed.standardOutput.contains("resumed from saved/step-0000000\(3 + index)"), "\(resumed)")
    }
    try FileManager.default.moveItem(atPath: directory + "/data", toPath: directory + "/moved")
    let lost = try run(["evaluate", "--checkpoint", "saved"], in: directory)
    #expect(lost.status == 65 && lost.standardError.contains("--data says where they are now"), "\(lost.standardError)")
    #expect(try run(["evaluate", "--checkpoint", "saved", "--data", "idx:moved"], in: directory).status == 0)
    #expect(try train("idx:moved", steps: 7).standardOutput.contains("resumed from saved/step-00000006"))
    // The number of classes is a property of the run.
    let other = try train("idx:moved,classes=11", steps: 8)
    #expect(
      other.status == 65 && other.standardError.contains("--data was idx:moved and is now idx:moved,classes=11"),
      "\(other.standardError)")
    try writeImages(in: directory + "/moved") { UInt8(9 - $0 % 10) }
    let refused = try train("idx:moved", steps: 8)
    #expect(refused.status == 65 && refused.standardError.contains("other data"), "\(refused.standardError)")
  }

  /// Whatever it does, a run that is asked to stop at any moment goes on as if it never had been.
  @Test(
    arguments: [
      ["--codec", "one-bit"], ["--strategy", "double-buffer"],
      ["--strategy", "double-buffer", "--overlap", "thread", "--clip", "0.5"],
      ["--optimizer", "adagrad", "--strategy", "double-buffer"], ["--warm-start", "auto"], ["--model-parallel", "2"],
      ["--partition", "by-class:5", "--weight-decay", "0.001"],
    ]
      + strategies.entries.filter { !["all-reduce", "double-buffer"].contains($0.name) }.map { entry in
        // The order of a live run is that of its messages; and ranks that are not in step answer when they meet.
        let recipe = try? strategies.make(entry.name)
        return ["--strategy", specification(of: entry.name, meetingEvery: 7)]
          + (recipe.map { $0.obstacles.orders == nil } == true ? ["--emulate-speed", "exp"] : [])
          + (recipe?.capabilities.isInStep == false ? ["--verify-every", "1"] : [])
      }
      + [["--strategy", "fetch-sgd:k=1/50,columns=1/6,recovery=zero,window=3"]])
  func aRunThatIsStoppedAtARandomStepEndsAsTheUnbrokenOne(_ kind: [String]) throws {
    let directory = try temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let common = small + kind + ["--steps", "80", "--learning-rate", "0.005", "--log-every", "1"]
    let whole = try run(common, ranks: 2)
    try #require(whole.status == 0, "\(whole.standardError)")
    let hash = try #require(word(after: ", model ", in: whole.standardOutput))

    let metrics = directory + "/metrics.jsonl"
    let arguments = common + ["--checkpoint", directory + "/saved", "--metrics", metrics, "--resume"]
    let (wanted, rank) = (Int.random(in: 2...40), Int.random(in: 0...1))
    let stopped = try run(arguments, stoppedAt: wanted, rank: rank, metrics)
    let here: Comment = "stopped at step \(wanted) by a signal to rank \(rank): \(stopped.standardError)"
    #expect(stopped.status == 75 && !stopped.isTimedOut, here)
    let saved = try FileManager.default.contentsOfDirectory(atPath: directory + "/saved")
    let name = try #require(saved.count == 1 ? saved[0] : nil, here)
    let resumed = try run(arguments, ranks: 2)
    #expect(resumed.status == 0, "\(resumed.standardError)")
    #expect(word(after: "resumed from ", in: resumed.standardOutput) == "\(directory)/saved/\(name)", here)
    #expect(word(after: ", model ", in: resumed.standardOutput) == hash, here)
    let starts = try metricsLines(metrics).filter { $0["event"] as? String == "start" }
    #expect(starts.count == 2 && starts[1]["resumedStep"] as? Int == Int(name.dropFirst(5)), here)
  }

  /// Runs two ranks, and asks one of them to stop in a step, in which rank 0 pauses so that the signal comes in time.
  private func run(_ arguments: [String], stoppedAt step: Int, rank: Int, _ metrics: String) throws -> JobResult {
    var job = Job("train", arguments + ["--inject-fault", "pause:rank=0,phase=data,step=\(step),seconds=1"])
    job.timeLimit = 120
    let running = try job.start(ranks: 2, options: ["-q"])
    func hasDone(_ step: Int) -> Bool {
      (try? String(contentsOfFile: metrics, encoding: .utf8))?.contains("\"event\":\"step\",\"step\":\(step),") ?? false
    }
    wait { hasDone(step - 1) }
    let ranks = processes(mentioning: metrics, childrenOf: running.processIdentifier)
    guard ranks.count == 2, kill(ranks[rank], SIGTERM) == 0 else {
      Issue.record("there are \(ranks.count) ranks to be asked to stop")
      return running.wait()
    }
    return running.wait()
  }

  /// A model is judged while the run that writes it removes its old checkpoints.
  @Test func aModelIsJudgedWhileItsRunGoesOn() throws {
    let directory = try temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var job = Job("train", small + ["--checkpoint", directory, "--checkpoint-every", "1", "--steps", "1000000"])
    job.timeLimit = 120
    let running = try job.start(ranks: 2)
    func isThere() -> Bool {
      (try? FileManager.default.contentsOfDirectory(atPath: directory))?.contains { $0.hasPrefix("step-") } ?? false
    }
    wait { isThere() }
    for _ in 0..<50 { #expect(throws: Never.self) { _ = try SavedModel(directory, on: world).evaluate() } }
    kill(running.processIdentifier, SIGTERM)
    #expect(!running.wait().isTimedOut)
  }

  /// Of two runs that are started beside one another, the second goes on where the first ends, or is refused.
  @Test func aSecondRunInADirectoryWaitsForTheFirst() throws {
    let directory = try temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let arguments = small + ["--checkpoint", directory + "/saved", "--checkpoint-every", "20"]
    var job = Job("train", arguments + ["--steps", "300"])
    job.timeLimit = 120
    let first = try job.start(ranks: 2)
    func isThere() -> Bool { FileManager.default.fileExists(atPath: directory + "/saved/step-00000020") }
    wait { isThere() }
    let second = try run(arguments + ["--steps", "310", "--resume"])
    let (one, words) = (first.wait(), second.standardOutput + second.standardError)
    #expect(one.status == 0, "\(one.standardError)")
    let isRefused = second.status == 65 && words.contains("another job is writing its checkpoints in \(directory)/saved")
    #expect(isRefused || second.status == 0 && words.contains("resumed from \(directory)/saved/step-00000300"), "\(words)")
  }

  @Test func aRunThatIsDoneSaysSo() throws {
    let directory = try temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let arguments = small.dropLast() + ["--checkpoint", directory + "/saved", "--metrics", directory + "/metrics"]
    #expect(try run(arguments + ["--steps", "9"], ranks: 2).status == 0)
    let done = try run(arguments + ["--steps", "9", "--resume"], ranks: 2)
    let words = done.standardOutput + done.standardError
    #expect(done.status == 0 && words.contains("nothing is left to do: all 9 steps were done"), "\(words)")
    #expect(words.contains("9 steps done before: test loss "), "\(words)")
    for nothing in ["nan", "loss 0.000", "Compression", "bytes sent"] { #expect(!words.contains(nothing), "\(words)") }
    let shorter = try run(arguments + ["--steps", "5", "--resume"]).standardOutput
    #expect(shorter.contains("9 steps were done, more than the 5 that are planned"), "\(shorter)")
    let longer = try run(arguments + ["--steps", "12", "--resume"], ranks: 2).standardOutput
    #expect(longer.contains("resumed from \(directory)/saved/step-00000009 after step 9 of 12, saved by 2 ranks"), "\(longer)")
    #expect(longer.contains("12 steps in "), "\(longer)")
  }

  /// The path that a run prints is understood by both commands, and no directory to begin in.
  @Test func aCheckpointIsNamedAsOne() throws {
    let directory = try temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let metrics = directory + "/metrics"
    #expect(try run(small + ["--steps", "9", "--checkpoint", "saved", "--metrics", metrics], in: directory).status == 0)
    let lines = try String(contentsOfFile: metrics, encoding: .utf8)
    let path = "saved/step-00000009"
    for more in [["--resume"], []] {
      let refused = try run(small + ["--steps", "19", "--checkpoint", path, "--metrics", metrics] + more, in: directory)
      #expect(refused.status == 65)
      #expect(
        refused.standardError.hasPrefix("train: \(path) is a checkpoint; name its directory, saved, "),
        "\(refused.standardError)")
    }
    #expect(try String(contentsOfFile: metrics, encoding: .utf8) == lines)
    for (place, name) in [
      (".", path), (".", path + "/"), ("saved", "step-00000009"), (path, "."), ("saved", "."), (".", "saved/"),
    ] {
      let judged = try run(["evaluate", "--checkpoint", name], in: "\(directory)/\(place)")
      #expect(
        judged.status == 0 && judged.standardOutput.contains(", step 9, on glyphs"),
        "\(name) in \(place): \(judged.standardError)")
    }
  }
}
