import Foundation
import Testing
import _TestSupport

/// `train plan` and `--codec auto`, as people call them.
@Suite(.serialized, .outsideMPI) struct PlanCommandTests {
  private let small = ["--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--quiet"]
  private let paper = [
    "plan", "--frame-seconds", "0.118ms", "--post-seconds", "9.2ms", "--update-seconds", "9ms", "--float-exchange-seconds",
    "320ms",
  ]

  private func object(_ text: String) throws -> [String: Any] {
    try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  @Test func thePapersCostsGiveThePapersRanks() throws {
    for (minibatch, expected) in [("1024", "69.6"), ("2880", "179"), ("16384", "976")] {
      let result = try Job("train", paper + ["--minibatch", minibatch]).run()
      #expect(result.status == 0)
      let row = try #require(result.standardOutput.split(separator: "\n").first { $0.hasPrefix("  one-bit") })
      #expect(row.hasSuffix("  \(expected)"), "\(row)")
    }
    let picture = NSTemporaryDirectory() + "morse-plan-\(UUID().uuidString).svg"
    defer { try? FileManager.default.removeItem(atPath: picture) }
    // Under mpirun one rank speaks for all.
    let result = try Job("train", paper + ["--minibatch", "1024", "--json", "--plot", picture]).run(ranks: 2)
    let plan = try object(result.standardOutput)
    #expect((plan["saturation"] as? [[String: Any]])?.contains { ($0["ranksDoubleBuffered"] as? Double ?? 0) > 69 } == true)
    #expect(try String(contentsOfFile: picture, encoding: .utf8).hasPrefix("<svg "))
  }

  @Test func aPlanIsMeasuredWhereItIsStarted() throws {
    let result = try Job("train", ["plan", "--json", "--brief", "--transport", "messages", "--topology", "flat"] + small).run(
      ranks: 2)
    let plan = try object(result.standardOutput)
    let recommendation = try #require(plan["recommendation"] as? [String: Any])
    #expect(recommendation["ranks"] as? Int == 2 && recommendation["codec"] is String)
    #expect((plan["predictions"] as? [[String: Any]])?.contains { $0["ranks"] as? Int == 32 } == true)
    // Four hundred thousand megabits and a model that computes for long: nothing to gain from a code.
    let fast = try Job(
      "train",
      ["plan", "--data", "glyphs:train=400,test=80", "--model", "softmax", "--minibatch", "60", "--quiet", "--brief"]
        + ["--bandwidth", "400gbit", "--latency", "10us", "--ranks", "8", "--frame-seconds", "1ms"]
    ).run()
    #expect(fast.status == 0 && fast.standardOutput.contains("Do not compress here: on 8 ranks"), "\(fast.standardOutput)")
  }

  /// What gradients take on each rank is measured, and asynchronous strategies are compared with those in step.
  @Test func asynchronousStrategiesArePlanned() throws {
    let arguments = ["plan", "--json", "--brief", "--transport", "messages", "--codec", "one-bit", "--strategy", "ssp:bound=5"]
    let plan = try object(Job("train", arguments + small).run(ranks: 3).standardOutput)
    let pace = try #require(plan["pace"] as? [String: Any])
    let predictions = try #require(pace["predictions"] as? [[String: Any]])
    #expect(
      predictions.map { $0["strategy"] as? String } == ["all-reduce", "double-buffer", "ssp:bound=3", "asgd", "ssp:bound=5"])
    #expect(predictions.allSatisfy { ($0["gradientsPerSecond"] as? Double ?? 0) > 0 })
    #expect((pace["text"] as? String)?.hasPrefix("With --strategy ssp:bound=5 3 ranks would apply ") == true)
    let spread = try #require((plan["costs"] as? [String: Any])?["spread"] as? [[String: Any]])
    #expect(spread.count == 3 && spread.allSatisfy { ($0["mean"] as? Double ?? 0) > 0 && $0["deviation"] is Double })
  }

  @Test func faultsEndInOneSentence() throws {
    let missing = NSTemporaryDirectory() + "morse-missing-\(UUID().uuidString)"
    let faults: [(arguments: [String], status: Int32, words: String)] = [
      (["--frame-secons", "3"], 64, "did you mean 'frame-seconds'?"), (["--latency", "fast"], 64, "--latency is a time"),
      (["--bandwidth", "100"], 64, "--bandwidth is a rate"), (["--ranks", "0"], 64, "--ranks"),
      (["--model", "mpl:3"], 64, "did you mean 'mlp'?"), (["--data", "idx:" + missing], 65, missing),
      (["--codec", "onebit"], 64, "did you mean 'one-bit'?"),
      (["--topology", "round"], 64, "--topology is auto, flat, hierarchical, not 'round'"),
      (["--topolgy", "flat"], 64, "did you mean 'topology'?"),
    ]
    for (arguments, status, words) in faults {
      let result = try Job("train", ["plan"] + arguments).run()
      #expect(result.status == status && result.standardError.contains(words), "\(arguments): \(result.standardError)")
    }
    let unwritable = try Job("train", paper + ["--plot", missing + "/file"]).run()
    #expect(unwritable.status == 74 && unwritable.standardError.contains(missing + "/file"))
  }

  @Test func aChosenCodecIsAsGoodAsANamedOne() throws {
    let folder = NSTemporaryDirectory() + "morse-auto-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func run(_ name: String, _ arguments: [String]) throws -> (start: [String: Any], hash: String) {
      let path = "\(folder)/\(name).jsonl"
      let result = try Job("train", small + ["--metrics", path, "--warm-start", "2", "--schedule", "constant"] + arguments).run(
        ranks: 2)
      try #require(result.status == 0, "\(result.standardError)")
      let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { try object(String($0)) }
      return (try #require(lines.first), try #require(lines.last?["modelHash"] as? String))
    }
    let checkpoint = ["--checkpoint", "\(folder)/checkpoint"]
    let first = try run("first", ["--codec", "auto", "--steps", "8"] + checkpoint)
    let codec = try #require(first.start["chosenCodec"] as? String)
    #expect(first.start["codec"] as? String == "auto" && (first.start["codecReason"] as? String)?.contains("floats") == true)
    // A run that is resumed goes on with what was chosen, whatever it would choose now.
    let resumed = try run("resumed", ["--codec", "auto", "--steps", "16", "--resume"] + checkpoint)
    #expect(resumed.start["chosenCodec"] as? String == codec)
    #expect((resumed.start["codecReason"] as? String)?.contains("saved") == true)
    let named = try run("named", ["--codec", codec, "--steps", "16"])
    #expect(resumed.hash == named.hash && named.start["chosenCodec"] == nil)
  }
}
