import Foundation
import Testing
import _TestSupport
@testable import _TrainingSupport

/// `train sample`, as people call it.
@Suite(.serialized, .outsideMPI) struct SampleCommandTests {
  /// A directory with a text, and the checkpoints of a small transformer on it and of a perceptron on digits.
  private static let directory = Result {
    let directory = NSTemporaryDirectory() + "morse-sample-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(PeriodicText.text.utf8).write(to: URL(fileURLWithPath: directory + "/text"))
    for (name, arguments) in [
      ("letters", ["--data", "text:\(directory)/text,context=12", "--model", "transformer:layers=1,heads=2,width=16"]),
      ("digits", ["--data", "glyphs:train=60,test=20", "--model", "mlp:8"]),
    ] {
      let run = Job(
        "train", arguments + ["--minibatch", "16", "--steps", "8", "--quiet", "--checkpoint", "\(directory)/\(name)"])
      try #require(try run.run().status == 0)
    }
    return directory
  }

  private func sample(_ arguments: [String], of name: String = "letters") throws -> JobResult {
    try Job("train", ["sample", "--checkpoint", "\(Self.directory.get())/\(name)"] + arguments).run()
  }

  @Test func textIsTheSameAgainAndAsLongAsAsked() throws {
    let letters = ["--prompt", "abac", "--length", "30"]
    let first = try sample(letters)
    #expect(first.status == 0 && first.standardOutput.hasPrefix("abac"), "\(first.standardError)")
    #expect(first.standardOutput.count == 4 + 30 + 1 && first.standardOutput.hasSuffix("\n"))
    #expect(first.standardOutput.dropLast().allSatisfy { "abc".contains($0) })
    #expect(try sample(letters).standardOutput == first.standardOutput)
    let other = try sample(letters + ["--seed", "2"])
    #expect(other.status == 0 && other.standardOutput != first.standardOutput)
    let sure = letters + ["--temperature", "0"]
    #expect(try sample(sure).standardOutput == sample(letters + ["--top-k", "1", "--seed", "5"]).standardOutput)
    // A prompt longer than what is read at once, and nothing to write.
    let long = String(PeriodicText.text.prefix(40))
    let longer = try sample(["--prompt", long, "--length", "3"])
    #expect(longer.status == 0 && longer.standardOutput.count == 44 && longer.standardOutput.hasPrefix(long))
  }

  @Test func faultsEndInOneSentence() throws {
    let faults: [(name: String, arguments: [String], status: Int32, words: String)] = [
      ("letters", ["--prompt", "abd"], 64, "--prompt: "), ("letters", ["--prompt", ""], 64, "--prompt has no character"),
      ("letters", [], 64, "--prompt: "), ("letters", ["--prompt", "a", "--length", "-1"], 64, "--length is a whole number"),
      ("letters", ["--prompt", "a", "--temperature", "-1"], 64, "--temperature is a number"),
      ("letters", ["--prompt", "a", "--temperature", "nan"], 64, "--temperature is a number"),
      ("letters", ["--prompt", "a", "--top-k", "0"], 64, "--top-k is a whole number from 1"),
      ("letters", ["--prompt", "a", "--seed", "x"], 64, "seed"), ("letters", ["--promt", "a"], 64, "did you mean 'prompt'?"),
      ("letters", ["--prompt", "a", "--data", "txt:x"], 64, "--data: "),
      ("letters", ["--prompt", "a", "--data", "text:/nowhere,context=12"], 65, "/nowhere"),
      ("letters", ["--prompt", "a", "--data", "text:\(try Self.directory.get())/other,context=12"], 65, "other data"),
      ("digits", ["--prompt", "a"], 65, "which writes no text; transformer does"),
      ("nothing", ["--prompt", "a"], 74, "/nothing"),
    ]
    try Data(String(PeriodicText.text.reversed()).utf8).write(to: URL(fileURLWithPath: Self.directory.get() + "/other"))
    for (name, arguments, status, words) in faults {
      let result = try sample(arguments, of: name)
      let lines = result.standardError.split(separator: "\n")
      #expect(result.status == status && lines.count == 1, "\(arguments): \(result.status) \(result.standardError)")
      #expect(result.standardError.contains(words), "\(arguments): \(result.standardError)")
      #expect(result.standardOutput.isEmpty)
    }
    let several = try Job(
      "train", ["sample", "--prompt", "a", "--checkpoint", "\(Self.directory.get())/letters"]
    ).run(ranks: 2)
    #expect(several.status == 64 && several.standardError.contains("text is written by one rank, not by 2"))
  }

  @Test func aClosedOutputIsAFault() throws {
    let command = "exec \"$0\" sample --checkpoint \(try Self.directory.get())/letters --prompt a >&-"
    let result = try Job("/bin/bash", ["-c", command, Job("train").executable]).run()
    #expect(result.status == 74 && result.standardError.contains("standard output"), "\(result.status) \(result.standardError)")
  }
}
