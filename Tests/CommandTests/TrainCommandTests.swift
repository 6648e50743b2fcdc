import Foundation
import Strategies
import Testing
import Trainer
import _TestSupport

/// The program `train`, started as people start it.
@Suite(.serialized, .outsideMPI) struct TrainCommandTests {
  private let small = ["--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--quiet"]

  private func temporary() -> String { NSTemporaryDirectory() + "morse-train-\(UUID().uuidString)" }

  /// Runs `train` and gives the lines of its metrics.
  private func metrics(ranks: Int, _ arguments: [String]) throws -> [[String: Any]] {
    let path = temporary()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let job = Job("train", small + arguments + ["--metrics", path])
    let result = try ranks == 1 ? job.run() : job.run(ranks: ranks)
    try #require(result.status == 0, "\(result.standardError)")
    return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
      try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  @Test func floatLossesDoNotDependOnTheNumberOfRanks() throws {
    // The last minibatch of an epoch, of 40 samples, is uneven on 3, 5 and 8 ranks.
    func losses(ranks: Int) throws -> [Double] {
      try metrics(ranks: ranks, ["--codec", "none", "--steps", "10", "--log-every", "1"])
        .filter { $0["event"] as? String == "step" }.compactMap { $0["loss"] as? Double }
    }
    let expected = try losses(ranks: 1)
    #expect(expected.count == 10 && expected[9] < expected[0])
    for ranks in [2, 3, 5, 8] {
      for (step, (loss, reference)) in zip(try losses(ranks: ranks), expected).enumerated() {
        #expect(abs(loss - reference) <= 1e-5 * reference, "\(ranks) ranks, step \(step + 1)")
      }
    }
  }

  @Test func theMetricsFileTellsWhatHappened() throws {
    let lines = try metrics(ranks: 3, ["--steps", "14", "--warm-start", "4", "--log-every", "5"])
    #expect(lines.map { $0["event"] as? String } == ["start", "step", "epoch", "step", "epoch", "end"])
    #expect(lines[0]["ranks"] as? Int == 3 && lines[0]["codec"] as? String == "one-bit")
    #expect(lines[1]["step"] as? Int == 5 && lines[1]["samples"] as? Int == 300)
    #expect((lines[3]["residualRatio"] as? Double ?? 0) > 0)
    let wire = try #require(lines[5]["wire"] as? [String: Any])
    let sent = try #require(wire["bytesSent"] as? [Int])
    #expect(sent.count == 3 && wire["predictedBytesSent"] as? [Int] == sent && wire["insideHost"] as? [Int] == sent)
    let returned = try #require(wire["bytesReturned"] as? [Int])
    let (back, there) = (returned.reduce(0, +), sent.reduce(0, +))
    #expect(2 * back == there)
    #expect((wire["compressionRatio"] as? Double ?? 0) > 15)
    #expect(lines[5]["modelHash"] as? String != nil)
  }

  /// Lists are as long as what was found, so that the format says the most; floats go up to owners, and few values come back.
  @Test func listsAreCountedAsTheyAreAndSaidToBeAtMost() throws {
    let path = temporary()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let job = Job("train", small + ["--steps", "6", "--strategy", "true-top-k:k=1/100", "--metrics", path])
    let result = try job.run(ranks: 3)
    try #require(result.status == 0, "\(result.standardError)")
    let words = result.standardOutput + result.standardError
    #expect(words.matches(of: #/this rank sends at most|, predicted at most [0-9.]+ /#).count == 2)
    let line = try #require(try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").last)
    let end = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    let wire = try #require(end["wire"] as? [String: Any])
    func bytes(_ key: String) throws -> [Int] { try #require(wire[key] as? [Int]) }
    for (sent, (returned, predicted)) in zip(
      try bytes("bytesSent"), zip(try bytes("bytesReturned"), try bytes("predictedBytesSent")))
    {
      #expect(sent <= predicted && 0 < returned && 5 * returned < sent, "\(returned) of \(sent) bytes, predicted \(predicted)")
    }
  }

  /// Two models in two slices each: what they exchange is what the sizes of layers say, B·n·4·(P − 1)/P for each.
  @Test func activationsAreCountedApart() throws {
    let lines = try metrics(
      ranks: 4, ["--model-parallel", "2", "--steps", "7", "--warm-start", "2", "--log-every", "7", "--evaluate-every", "7"])
    // Hidden layers of 24 and 16 and 10 classes; on the way back the hidden layers alone. The seventh step has 40 of 400 samples.
    #expect(lines[1]["activationBytes"] as? Int == 20 * (24 + 16 + 10 + 24 + 16) * 4 / 2)
    let wire = try #require(lines.last?["wire"] as? [String: Any])
    // Of the 80 test samples, 40 for each model follow.
    let expected = (6 * 30 + 20) * 90 * 2 + 40 * 50 * 2
    #expect(wire["activationBytesSent"] as? [Int] == [expected, expected, expected, expected])
    #expect(wire["predictedActivationBytesSent"] as? [Int] == [expected, expected, expected, expected])
    let sent = try #require(wire["bytesSent"] as? [Int])
    #expect(sent == wire["predictedBytesSent"] as? [Int])
    let bits = try #require(wire["bitsPerParameter"] as? Double)
    #expect(bits > 1 && bits < 1.6)
    #expect(lines[0]["parameters"] as? Int == 19410 && lines[0]["modelParallel"] as? Int == 2)
  }

  @Test func faultsEndInOneSentenceAndTheRightStatus() throws {
    let missing = temporary()
    let faults: [(arguments: [String], status: Int32, words: String)] = [
      (["--codek", "none"], 64, "did you mean 'codec'?"),
      (["--codec", "onebit"], 64, "did you mean 'one-bit'?"),
      (["--codec", "one-bit:grup=3"], 64, "did you mean 'group'?"),
      (["--model", "mpl:3"], 64, "did you mean 'mlp'?"),
      (["--learning-rate", "-1"], 64, "--learning-rate"),
      (["--learning-rate", "nan"], 64, "--learning-rate"),
      (["--minibatch", "1"], 64, "--minibatch 1 is smaller than the number of ranks"),
      (["--model-parallel", "0"], 64, "--model-parallel is at least 1"),
      (["--model-parallel", "3"], 64, "--model-parallel 3 needs a number of ranks that is a multiple of 3, not 2"),
      (["--data", "idx:" + missing], 65, missing),
      (["--data", "cifar10:" + missing], 65, missing),
      (["--data", "npy:" + missing], 65, missing),
      (["--data", "text:" + missing], 65, missing),
      (["--data", "text:" + missing, "--partition", "by-class"], 64, "the windows of a text have no class"),
      (["--config", missing], 65, missing),
      (["--metrics", missing + "/file"], 74, missing),
      (["--output", missing + "/file"], 74, missing),
      (["--output", "/"], 74, "Is a directory"),
      (["--config", "/"], 65, "Is a directory"),
      (["--non-finite", "abort", "--inject-non-finite", "2:1", "--steps", "5"], 65, "step 3"),
    ]
    for (arguments, status, words) in faults {
      let result = try Job("train", small + arguments).run(ranks: 2, options: ["-q"])
      #expect(result.status == status && !result.isTimedOut, "\(arguments): \(result.status) \(result.standardError)")
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("train: ") }
      #expect(sentences.count == 1 && sentences[0].contains(words), "\(arguments): \(result.standardError)")
    }
  }

  @Test func damagedDataEndInOneSentence() throws {
    let folder = temporary()
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (name, bytes) in [("data_batch_1.bin", 3080), ("test_batch.bin", 3073), ("x_train.npy", 20), ("a.txt", 0)] {
      try Data(count: bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    }
    try Data("To be, or not".utf8).write(to: URL(fileURLWithPath: "\(folder)/b.txt"))
    for (data, words) in [
      ("cifar10:\(folder)", "data_batch_1.bin' is truncated"), ("npy:\(folder)", "x_train.npy' is not a NumPy array"),
      ("text:\(folder)/a.txt", "a.txt' is empty"), ("text:\(folder)/b.txt", "windows of 128 need 129"),
      ("text:\(folder)/b.txt,context=1", "samples of text are tokens"),
    ] {
      let result = try Job("train", ["--data", data, "--model", "mlp:8", "--quiet"]).run(ranks: 2, options: ["-q"])
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("train: ") }
      #expect(result.status == 65 && sentences.count == 1 && sentences[0].contains(words), "\(data): \(result)")
    }
  }

  @Test func aStoppedJobSavesAndGoesOn() throws {
    let directory = temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let arguments = small + ["--checkpoint", directory]
    let job = Job("train", arguments + ["--steps", "1000000"])
    let running = try job.start(ranks: 2)
    Thread.sleep(forTimeInterval: 2)
    kill(running.processIdentifier, SIGTERM)
    let stopped = running.wait()
    #expect(stopped.status != 0 && stopped.standardError.contains("--resume"), "\(stopped.standardError)")
    let saved = try FileManager.default.contentsOfDirectory(atPath: directory)
    let step = try #require(saved.count == 1 ? Int(saved[0].dropFirst("step-".count)) : nil, "\(saved)")
    let resumed = try Job("train", arguments + ["--resume", "--steps", String(step + 5)]).run(ranks: 2)
    #expect(resumed.status == 0 && resumed.standardOutput.contains("resumed from"), "\(resumed.standardError)")
    let judged = try Job("train", ["evaluate", "--checkpoint", directory]).run(ranks: 3)
    #expect(judged.status == 0 && judged.standardOutput.contains("accuracy"), "\(judged.standardError)")
  }

  @Test func aKilledRankEndsTheJobWhichCanBeResumed() throws {
    let directory = temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let arguments = small + ["--checkpoint", directory]
    let running = try Job("train", arguments + ["--steps", "1000000", "--checkpoint-every", "200"]).start(ranks: 3)
    func newest() -> Int? {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
      return names.compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst("step-".count)) : nil }.max()
    }
    for _ in 0..<200 where newest() == nil { Thread.sleep(forTimeInterval: 0.1) }
    let ranks = processes(mentioning: directory, childrenOf: running.processIdentifier)
    try #require(ranks.count == 3)
    kill(ranks[1], SIGKILL)
    let start = ContinuousClock.now
    let ended = running.wait()
    #expect(ContinuousClock.now - start < .seconds(10))
    #expect(ended.status != 0 && !ended.isTimedOut)
    let step = try #require(newest())
    let resumed = try Job("train", arguments + ["--resume", "--steps", String(step + 5)]).run(ranks: 2)
    #expect(resumed.status == 0, "\(resumed.standardError)")
  }

  @Test(arguments: ["all-reduce", "asgd"]) func aRankThatStopsIsNamedByTheOthers(_ strategy: String) throws {
    let mark = temporary()
    let arguments = [
      "--timeout", "3", "--patience", "0.7", "--steps", "1000000", "--evaluate-every", "1", "--metrics", mark, "--strategy",
      strategy, "--learning-rate", "0.01", "--checkpoint", mark + "-checkpoints",
    ]
    let running = try Job("train", small + arguments).start(ranks: 3)
    defer { for path in [mark, mark + "-checkpoints"] { try? FileManager.default.removeItem(atPath: path) } }
    func hasBegun() -> Bool { (try? String(contentsOfFile: mark, encoding: .utf8))?.contains("\"epoch\"") ?? false }
    for _ in 0..<200 where !hasBegun() { Thread.sleep(forTimeInterval: 0.1) }
    let ranks = processes(mentioning: mark, childrenOf: running.processIdentifier)
    try #require(ranks.count == 3)
    kill(ranks[2], SIGSTOP)
    let ended = running.wait()
    kill(ranks[2], SIGKILL)
    #expect(ended.status == 75 && !ended.isTimedOut, "\(ended.standardError)")
    // The stopped rank is woken up to be ended, and may find the others gone. Where ranks are not in step, another may wait for it first.
    let warnings = ended.standardError.split(separator: "\n").filter { $0.hasPrefix("train: warning: rank 0") }
    try #require(warnings.count == 1, "\(ended.standardError)")
    #expect(
      warnings[0].contains("waiting for rank 2")
        || strategy == "asgd" && warnings[0].contains("waiting for rank 1") && warnings[0].contains(", rank 2 on "),
      "\(ended.standardError)")
    // One rank says it, unless the other has found out a second earlier.
    let sentences = ended.standardError.split(separator: "\n").filter { $0.contains("of 3: no progress for 3 s in ") }
    #expect(
      (1...2).contains(sentences.count)
        && sentences.allSatisfy { $0.hasSuffix("start it again with --resume: its checkpoints are in \(mark)-checkpoints") },
      "\(ended.standardError)")
  }

  /// The command line is made from the table of options.
  @Test func everyOptionIsInHelpAndIsTaken() throws {
    let help = try Job("train", ["help", "run"]).run().standardOutput
    let completions = try Job("train", ["--generate-completion-script", "bash"]).run().standardOutput
    for field in TrainerOptions.fields {
      let usage = "\n  --\(field.name)" + (field.valueName.map { " <\($0)>" } ?? "") + " "
      #expect(help.contains(usage) || help.contains(usage.dropLast() + "\n") || field.isHidden, "\(field.name)")
      #expect(help.contains("--\(field.name) ") != field.isHidden, "\(field.name)")
      #expect(completions.contains("--\(field.name)") != field.isHidden, "\(field.name)")
    }
    for section in [SubjectOptions.title, DescentOptions.title, ExchangeOptions.title, FileOptions.title, ReportOptions.title] {
      #expect(help.contains("\n\(section.uppercased()):\n"), "\(section)")
    }
    #expect(help.contains("\n  --minibatch <n>         Samples per step over all ranks, at least one per\n"))
    // The last one counts; a number may be negative; a word after a flag is not its value.
    let last = try metrics(ranks: 1, ["--steps", "9", "--seed=3", "--steps", "2", "--seed", "4"])
    #expect(last[0]["steps"] as? Int == 2 && last[0]["seed"] as? Int == 4 && last[0]["quiet"] as? Bool == true)
    let faults: [(arguments: [String], words: String)] = [
      (["--steps"], "Missing value for '--steps <n>'"), (["--codec", "--steps", "3"], "Missing value for '--codec <spec>'"),
      (["--minibatch", "-3"], "--minibatch is at least 1, not -3"),
      (["--quiet=false"], "'--quiet' does not take any value, but 'false' was specified"),
      (["--quiet", "false"], "Unexpected argument 'false'"), (["--seed", "-1"], "--seed is a whole number from 0, not '-1'"),
      (["--injct-fault", "x"], "unknown option 'injct-fault'; known: model"),
      (["--strategy", "fetch-sgd", "--codec", "one-bit"], "--codec one-bit does not go with --strategy fetch-sgd"),
      (
        ["--codec", "uniform:bits=4,scales=shared", "--warm-start", "5"],
        "--warm-start does not go with --codec uniform:scales=shared"
      ),
    ]
    for (arguments, words) in faults {
      let result = try Job("train", arguments).run()
      #expect(result.status == 64 && result.standardError.contains(words), "\(arguments): \(result.standardError)")
    }
  }

  /// One model has no others that "each" could mean.
  @Test func theSummaryCountsSlices() throws {
    for (ranks, words) in [(2, "1 model in 2 slices: this rank holds"), (4, "2 models in 2 slices each: this rank holds")] {
      let result = try Job("train", small + ["--model-parallel", "2", "--steps", "1"]).run(ranks: ranks)
      #expect(result.standardOutput.contains(words), "\(result.standardOutput)")
    }
    let help = try Job("train", ["help", "run"]).run().standardOutput
    let list = try Job("train", ["list"]).run().standardOutput
    #expect(help.replacing(/\s+/, with: " ").contains("until the gradient is 80 % noise") && list.contains("is 80 % noise"))
  }

  @Test func helpAndListsTeach() throws {
    let help = try Job("train", ["--help"]).run()
    #expect(help.status == 0 && help.standardOutput.contains("mpirun -np 8 train"))
    let list = try Job("train", ["list"]).run()
    for word in ["mlp", "cnn", "glyphs", "one-bit", "all-reduce", "sgd", "cosine", "warmup=", "0.001 if --learning-rate"] {
      #expect(list.standardOutput.contains(word), "\(word)")
    }
    #expect(try Job("train", ["--version"]).run().status == 0)
  }
}
