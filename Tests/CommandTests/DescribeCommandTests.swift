import Foundation
import Testing
import _TestSupport

/// `train describe`, as people call it.
@Suite(.serialized, .outsideMPI) struct DescribeCommandTests {
  private func describe(_ arguments: [String]) throws -> JobResult { try Job("train", ["describe"] + arguments).run() }

  @Test func everyLayerAndTensorIsTold() throws {
    let result = try describe(["--model", "transformer:layers=1", "--inputs", "text:16", "--classes", "65"])
    #expect(result.status == 0, "\(result.standardError)")
    let rows = result.standardOutput.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    #expect(rows[0].starts(with: ["transformer:layers=1", "on", "samples", "of", "text:16:"]))
    #expect(rows.contains(["embedding", "of", "65", "tokens", "and", "16", "positions", "16×128", "10368"]))
    #expect(
      rows.contains(["layers.1.tokens.weight", "65×128", "8320"])
        && rows.contains(["layers.1.positions.weight", "16×128", "2048"]))
    #expect(rows.contains(["layer", "normalization", "16×128", "256"]) && rows.contains(["layers.2.weight", "128", "128"]))
    #expect(
      rows.contains(["causal", "attention,", "4", "heads", "16×128"]) && rows.contains(["plus", "the", "input", "16×128"]))
    #expect(rows.contains(["linear", "128", "→", "512,", "gelu", "16×512", "66048"]))
    #expect(rows.contains(["linear", "128", "→", "65", "without", "biases", "16×65", "8320"]))
  }

  /// Floats of a rank go to the other owners, and its sums back: 2 (K − 1) / K of them, and headers.
  @Test func bytesAreThoseOfTheFormat() throws {
    let result = try describe([
      "--model", "mlp:999", "--inputs", "1000", "--classes", "1", "--codec", "none", "--codec", "one-bit",
    ])
    #expect(result.status == 0, "\(result.standardError)")
    let rows = result.standardOutput.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    #expect(rows[0].contains("1000999") || rows[0].contains("1000999:"), "\(rows[0])")
    #expect(rows.contains(["codec", "2", "ranks", "8", "ranks"]))
    let floats = try #require(rows.first { $0.first == "none" })
    #expect(floats[1].hasPrefix("4.0") && floats[2] == "MB" && (floats[3].hasPrefix("7.0")) && floats[4] == "MB", "\(floats)")
    let bits = try #require(rows.first { $0.first == "one-bit" })
    #expect(bits[2] == "kB" && bits[4] == "kB", "\(bits)")
  }

  @Test func imagesAndDataAreRead() throws {
    let image = try describe(["--model", "cnn", "--inputs", "28x28x1", "--classes", "10"])
    #expect(image.status == 0 && image.standardOutput.contains("431080 parameters"), "\(image.standardError)")
    #expect(image.standardOutput.contains("convolution 5×5") && image.standardOutput.contains("24×24×20"))
    // Under mpirun one rank speaks for all.
    let data = try Job("train", ["describe", "--model", "mlp:8", "--data", "glyphs:train=20,test=10"]).run(ranks: 2)
    #expect(data.status == 0 && data.standardOutput.components(separatedBy: "linear 784 → 8, relu").count == 2)
  }

  @Test func faultsEndInOneSentence() throws {
    let faults: [(arguments: [String], status: Int32, words: String)] = [
      (["--inputs", "28x28", "--classes", "10"], 64, "--inputs is a number of values such as 784"),
      (["--inputs", "text:x", "--classes", "10"], 64, "--inputs is"),
      (["--inputs", "0", "--classes", "10"], 64, "--inputs is"),
      (["--inputs", "9999x9999x9999", "--classes", "10"], 64, "--inputs is"),
      (["--inputs", "5"], 64, "--inputs needs --classes"),
      (["--classes", "5"], 64, "--classes goes with --inputs"),
      (["--inputs", "5", "--classes", "0"], 64, "--classes is a whole"),
      (["--inputs", "5", "--classes", "2", "--data", "glyphs"], 64, "leave one of them out"),
      (["--model", "mpl", "--inputs", "5", "--classes", "2"], 64, "did you mean 'mlp'?"),
      (["--model", "cnn", "--inputs", "5", "--classes", "2"], 65, "'cnn' reads images"),
      (["--model", "transformer", "--inputs", "28x28x1", "--classes", "2"], 65, "'transformer' reads text"),
      (["--model", "mlp:64x65536", "--inputs", "5", "--classes", "2"], 65, "parameters"),
      (["--codec", "onebit"], 64, "did you mean 'one-bit'?"), (["--inputz", "5"], 64, "did you mean 'inputs'?"),
      (["--data", "idx:/nowhere"], 65, "/nowhere"),
    ]
    for (arguments, status, words) in faults {
      let result = try describe(arguments)
      let lines = result.standardError.split(separator: "\n")
      #expect(result.status == status && lines.count == 1, "\(arguments): \(result.status) \(result.standardError)")
      #expect(result.standardError.hasPrefix("train: ") && result.standardError.contains(words), "\(result.standardError)")
      #expect(result.standardOutput.isEmpty)
    }
  }
}
