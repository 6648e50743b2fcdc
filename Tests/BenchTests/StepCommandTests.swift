import Buffers
import Foundation
import Testing
import _TestSupport

/// `bench step` and `bench all-reduce`, started as people start them.
@Suite(.serialized, .outsideMPI) struct StepCommandTests {
  private let small = ["step", "--model", "mlp:40,30", "--inputs", "50", "--iterations", "2", "--turns", "2", "--json"]

  private func row(ranks: Int, _ arguments: [String]) throws -> [String: Any] {
    let job = Job("bench", arguments)
    let result = try ranks == 1 ? job.run() : job.run(ranks: ranks)
    try #require(result.status == 0, "\(result.standardError)")
    return try #require(JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8)) as? [String: Any])
  }

  @Test(arguments: ["all-reduce", "double-buffer"], ["thread", "inline", "off"])
  func theOverlapFollowsFromTheTimes(_ strategy: String, _ overlap: String) throws {
    let row = try row(ranks: 2, small + ["--strategy", strategy, "--overlap", overlap, "--emulated-compute", "8"])
    func number(_ key: String) throws -> Double { try #require(row[key] as? Double, "\(key)") }
    let (compute, alone, total) = (try number("compute"), try number("communication"), try number("total"))
    // Nobody wakes early.
    let isDoubleBuffered = strategy == "double-buffer"
    #expect(compute >= (isDoubleBuffered ? 0.0039 : 0.0079) && total >= (isDoubleBuffered ? 0.0039 : 0.0079))
    #expect(abs(try number("overlap") - min(max(100 * (1 - (total - compute) / alone), 0), 100)) < 1e-6)
    #expect(try number("p50") >= (isDoubleBuffered ? 2 : 1) * total)
    #expect(row["drivenBy"] as? String == overlap && row["strategy"] as? String == strategy)
    #expect(row["computation"] as? String == "emulated, 8.0 ms a step" && row["forward"] is NSNull)
    #expect(row["bytesLeavingHost"] as? Int == 0)
  }

  /// Slices exchange their gradients with their like only, and everything goes on in steps that are emulated, too.
  @Test(arguments: [1, 2], [[], ["--emulated-compute", "8"], ["--emulated-compute", "8", "--strategy", "double-buffer"]])
  func aModelMayBeSplit(_ shares: Int, _ arguments: [String]) throws {
    let row = try row(ranks: 2 * shares, small + arguments + ["--model-parallel", "2"])
    #expect(row["stripes"] as? Int == 2 && row["ranks"] as? Int == 2 * shares)
    let compute = try #require(row["compute"] as? Double)
    #expect(compute >= (arguments.isEmpty ? 1e-9 : arguments.count > 2 ? 0.0039 : 0.0079))
  }

  @Test func oneRankHasNothingToHide() throws {
    for strategy in ["all-reduce", "double-buffer"] {
      let row = try row(ranks: 1, small + ["--strategy", strategy])
      #expect(row["overlap"] == nil && row["computation"] as? String == "real")
      #expect((row["p50"] as? Double ?? 0) > 0 && (row["forward"] as? Double ?? 0) > 0)
    }
  }

  /// Pushes are counted and timed, and what the links would carry is measured beside them.
  @Test(arguments: ["asgd", "dc-asgd:pull=floats", "ssp:bound=1"]) func pushesAreMeasured(_ strategy: String) throws {
    let job = ["step", "--model", "mlp:40,30", "--inputs", "50", "--iterations", "4", "--turns", "1", "--json"]
    let arguments = job + ["--strategy", strategy, "--emulated-compute", "6", "--transport", "messages"]
    let row = try row(ranks: 3, arguments)
    func number(_ key: String) throws -> Double { try #require(row[key] as? Double, "\(key)") }
    // Nobody wakes early: each of three workers sleeps six milliseconds for a push.
    let pushes = try number("pushesPerSecond")
    #expect(pushes > 0 && pushes <= 3 / 0.006)
    #expect(abs(try number("ratio") * number("linkLimit") - pushes) < 1e-6 * pushes)
    #expect((0.01...1).contains(try number("computing")))
    // Rows of 50, 40 and 30 values and vectors of biases, in a bit a value with two means, and a header for each shard.
    let codes = 40 * 16 + 30 * 16 + 10 * 12 + 16 + 12 + 12
    let pulled = strategy.contains("floats") ? 4 * (40 * 51 + 30 * 41 + 10 * 31) : codes
    #expect(row["bytesUp"] as? Int == codes + 3 * 32 && row["bytesDown"] as? Int == pulled + 3 * 32)
    #expect(try row["ownerPushes"] as? String == "12 12 12" && number("pushSpread") == 0)
    #expect(row["computation"] as? String == "emulated, 6.0 ms a push")
    guard strategy == "asgd" else { return }
    // On one host there is no link.
    let inside = try self.row(ranks: 2, job + ["--strategy", strategy])
    #expect(inside["linkLimit"] is NSNull && inside["ratio"] is NSNull)
  }

  /// Samples of a square number of values are images, and images may have channels.
  @Test(arguments: ["144", "12x12x1", "12x14x3"]) func convolutionalStepsAreMeasured(_ inputs: String) throws {
    let arguments = ["step", "--model", "cnn:3,5", "--inputs", inputs, "--iterations", "2", "--turns", "2", "--json"]
    let row = try row(ranks: 2, arguments)
    #expect(row["model"] as? String == "cnn:3,5" && (row["compute"] as? Double ?? 0) > 0)
  }

  @Test func unusableOptionsAreNamed() throws {
    let missing = NSTemporaryDirectory() + "morse-missing-\(UUID().uuidString)"
    let faults: [(arguments: [String], words: String)] = [
      (["step", "--overlap", "threads"], "--overlap: unknown value 'threads'; did you mean 'thread'?"),
      (["step", "--topology", "ring"], "--topology: unknown value 'ring'; known: auto, flat, hierarchical"),
      (["step", "--strategy", "double-bufer"], "--strategy: unknown strategy 'double-bufer'; did you mean 'double-buffer'?"),
      (["step", "--emulated-compute", "0"], "--emulated-compute is a number of milliseconds, more than 0"),
      (["step", "--emulated-compute", "-5"], "--emulated-compute is a number of milliseconds, more than 0"),
      (["step", "--emulated-compute", "nan"], "--emulated-compute is a number of milliseconds, more than 0"),
      (["step", "--model-parallel", "0"], "--model-parallel is at least 1, not 0"),
      (["step", "--model-parallel", "2"], "--model-parallel 2 needs a number of ranks that is a multiple of 2, not 1"),
      (["step", "--strategy", "asgd", "--iterations", "2"], "--iterations is at least 3 with --strategy asgd"),
      (["step", "--strategy", "ssp", "--model-parallel", "2"], "--strategy ssp does not go with --model-parallel"),
      (["step", "--strategy", "asgd", "--codec", "top-k"], "--strategy asgd takes a codec, not top-k"),
      (["step", "--strategy", "asgd", "--transport", "tcp"], "--transport: unknown value 'tcp'; known: auto, messages"),
      (["step", "--model", "cnn", "--inputs", "50"], "'cnn' reads images, and samples of 50 values"),
      (["step", "--peer", "/dev/null", "--python", missing], "--python: there is no program '\(missing)'"),
      (["step", "--model", "softmax", "--inputs", "text:9"], "'softmax' reads values, and samples of text are tokens"),
      (["step", "--inputs", "0"], "'0'"), (["step", "--inputs", "32x32"], "'32x32'"),
      (
        ["step", "--inputs", "32x32x"],
        "--inputs is a number of values such as 784, an image such as 32x32x3, or a text such as text:128, not '32x32x'"
      ), (["step", "--inputs", "text:"], "'text:'"), (["step", "--inputs", "text:2x3"], "'text:2x3'"),
      (["step", "--inputs", "99999999999x99999999999x3"], "not '99999999999x99999999999x3'"),
      (["step", "--turns", "0"], "--turns is at least 1, not 0"),
      (["step", "--peer", "/dev/null", "--emulated-compute", "5"], "--peer compares real steps of all-reduce"),
      (["step", "--peer", "/dev/null", "--strategy", "double-buffer"], "--peer compares real steps of all-reduce"),
      (["step", "--peer", "/dev/null", "--model-parallel", "2"], "--peer compares real steps of all-reduce"),
      (["step", "--peer", missing], "--peer: there is no readable file '\(missing)'"),
      (["all-reduce", "--topology", "hierarchic"], "--topology: unknown value 'hierarchic'; did you mean 'hierarchical'?"),
      (["all-reduce", "--strategy", "double-buffer"], "strategy"),
      (["all-reduce", "--strategy", "fetch-sgd:rows=5,colums=7"], "columns"),
      (["all-reduce", "--strategy", "fetch-sgd", "--input", "g.npy"], "it does not go with --strategy"),
      (["all-reduce", "--transport", "tcp"], "--transport: unknown value 'tcp'; known: auto, messages"),
    ]
    for fault in faults {
      let result = try Job("bench", fault.arguments).run()
      #expect(result.status == 64, "\(fault.arguments)")
      #expect(result.standardError.contains(fault.words), "\(fault.arguments): \(result.standardError)")
    }
  }

  @Test func allReduceCountsWhatLeavesAHost() throws {
    // As if each rank were a host: what the busiest rank sends.
    let job = ["all-reduce", "--codec", "one-bit", "--count", "3000", "--iterations", "2", "--json"]
    let apart = try row(ranks: 3, job + ["--transport", "messages"])
    #expect(apart["bytesLeavingHost"] as? Int == apart["wireBytesSent"] as? Int)
    #expect(try row(ranks: 3, job)["bytesLeavingHost"] as? Int == 0)
  }

  /// A run whose changes are not those of the sum ends with an error.
  @Test(
    arguments: ["fetch-sgd:k=1/50,columns=1/30", "fetch-sgd:recovery=zero", "sketched-sgd", "true-top-k", "local-top-k"])
  func strategiesChangeModelsByTheSum(_ strategy: String) throws {
    let job = ["all-reduce", "--strategy", strategy, "--count", "30000", "--iterations", "1", "--json"]
    let row = try row(ranks: 3, job)
    // Keys that are not given are shown, too.
    let (asked, shown) = (try Specification(strategy), try Specification(try #require(row["codec"] as? String)))
    #expect(shown.name == asked.name && shown.options.count > asked.options.count)
    #expect(asked.options.allSatisfy { shown.options[$0] == $1 })
    #expect(row["wrong"] as? Int == 0)
    let (sent, logical) = (row["wireBytesSent"] as! Int, row["logicalBytes"] as! Int)
    #expect(sent > 0 && logical == 120_000)
    #expect(abs((row["compression"] as! Double) - Double(logical * 4 / 3) / Double(sent)) < 1e-3)
  }
}
