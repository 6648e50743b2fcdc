import Foundation
import Testing
import _TestSupport

/// Programs that a limit leaves too little memory: one sentence with the bytes, soon, and nothing that was there is lost.
@Suite(.serialized, .outsideMPI) struct MemoryCommandTests {
  private let small = [
    "--data", "glyphs:train=400,test=80", "--model", "mlp:24,16", "--minibatch", "60", "--steps", "4", "--quiet",
  ]

  private func temporary() -> String { NSTemporaryDirectory() + "morse-memory-\(UUID().uuidString)" }

  /// Runs a program under a limit of the shell, such as `ulimit -v 400000`; `condition` says on which ranks.
  private func run(
    _ program: String, _ arguments: [String], limit: String, ranks: Int = 1, condition: String = "true"
  ) throws -> JobResult {
    let script = "if \(condition); then \(limit); fi; exec \"$@\""
    var job = Job("/bin/bash", ["-c", script, "bash", Job(program).executable] + arguments)
    job.timeLimit = 60
    return try ranks == 1 ? job.run() : job.run(ranks: ranks, options: ["-q"])
  }

  /// That a result is one sentence which tells bytes, with the status of missing memory.
  private func expectSentence(_ result: JobResult, from program: String = "train", of words: String = "MB", _ what: String) {
    #expect(result.status == 74 && !result.isTimedOut, "\(what): \(result.status) \(result.standardError)")
    // Words of mpirun are its own affair.
    let lines = result.standardError.split(separator: "\n")
    let sentences = lines.filter { $0.contains("not enough memory") || $0.contains("cannot") }
    #expect(sentences.count == 1 && sentences[0].hasPrefix("\(program): "), "\(what): \(result.standardError)")
    #expect(sentences.first?.contains(words) ?? false, "\(what): \(result.standardError)")
    #expect(!result.standardError.contains("Fatal error") && !result.standardError.contains("Backtrace"), "\(what)")
  }

  @Test(arguments: [125, 135, 150, 200, 300, 600, 1000]) func aSmallRunUnderALimitRunsOrSaysWhy(megabytes: Int) throws {
    let result = try run("train", small, limit: "ulimit -v \(megabytes)000")
    if result.status != 0 || megabytes <= 150 { expectSentence(result, "\(megabytes) MB") }
    if megabytes >= 600 { #expect(result.status == 0, "\(megabytes) MB: \(result.standardError)") }
    #expect(!result.isTimedOut)
  }

  @Test func aLimitOfDataIsOne() throws {
    expectSentence(try run("train", small, limit: "ulimit -d 30000"), of: "ulimit -d", "train")
  }

  @Test func modelsThatDoNotFitAreRefusedBeforeAnythingIsWritten() throws {
    let file = temporary()
    let large = ["--data", "glyphs:train=400,test=80", "--model", "mlp:8192,8192"]
    let run = try self.run("train", large + ["--steps", "1", "--metrics", file], limit: "ulimit -v 600000")
    expectSentence(run, of: "parameters 295 MB", "train")
    #expect(!FileManager.default.fileExists(atPath: file))
    expectSentence(try self.run("train", ["plan"] + large, limit: "ulimit -v 600000"), "plan")
    let step = try self.run("bench", ["step", "--model", "mlp:8192,8192"], limit: "ulimit -v 600000")
    expectSentence(step, from: "bench", "step")
  }

  /// A file without content, whose length alone is 3 GB.
  @Test(arguments: [
    ("idx:", "train-images-idx3-ubyte"), ("cifar10:", "data_batch_1.bin"), ("npy:", "x_train.npy"), ("text:", "text"),
  ]) func dataThatDoNotFitAreRefused(data: String, name: String) throws {
    let directory = temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for name in [name, "test_batch.bin"] {
      #expect(FileManager.default.createFile(atPath: "\(directory)/\(name)", contents: nil))
    }
    #expect(truncate("\(directory)/\(name)", 3_000_000_000) == 0)
    let place = data == "text:" ? "\(directory)/\(name)" : directory
    let result = try run("train", ["--data", data + place, "--steps", "1"], limit: "ulimit -v 1000000")
    expectSentence(result, of: "\(name)' needs 3.0 GB", data)
  }

  @Test func aModelThatCannotBeJudgedSaysWhy() throws {
    let directory = temporary()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    #expect(try Job("train", small + ["--checkpoint", directory]).run().status == 0)
    expectSentence(try run("train", ["evaluate", "--checkpoint", directory], limit: "ulimit -v 125000"), "evaluate")
  }

  @Test(arguments: ["true", "[ $OMPI_COMM_WORLD_RANK = 1 ]"]) func allRanksEndWhereOneHasALimit(condition: String) throws {
    for megabytes in [200, 240] {
      let result = try run("train", small, limit: "ulimit -v \(megabytes)000", ranks: 3, condition: condition)
      #expect(result.status == 74 && !result.isTimedOut, "\(megabytes): \(result.status) \(result.standardError)")
      let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("train: ") }
      #expect(sentences.count == 1, "\(megabytes): \(result.standardError)")
      #expect(sentences.first?.contains("not enough memory") ?? false, "\(megabytes): \(result.standardError)")
      if condition != "true" { #expect(sentences.first?.contains("rank 1: ") ?? false, "\(result.standardError)") }
    }
  }

  @Test func countsThatNoMemoryHoldsAreRefused() throws {
    for count in ["4611686018427387904", "1000000000000000"] {
      let result = try Job("bench", ["memory", "--count", count, "--iterations", "1"]).run()
      expectSentence(result, from: "bench", of: count == "1000000000000000" ? "8.0 PB" : "addresses", count)
    }
  }

  @Test func moreThreadsThanCoresAreToldOnce() throws {
    let mark = "--threads 3 is more than the 1 core that rank 0 may use"
    let bound = Job("/usr/bin/env", ["taskset", "-c", "0", Job("train").executable] + small + ["--threads", "3"])
    let alone = try bound.run()
    #expect(alone.status == 0 && alone.standardError.components(separatedBy: mark).count == 2, "\(alone.standardError)")
    let together = try bound.run(ranks: 2, options: ["--bind-to", "none"])
    #expect(
      together.status == 0 && together.standardError.components(separatedBy: mark).count == 2, "\(together.standardError)")
    #expect(try !Job("train", small).run().standardError.contains("--threads"))
  }

  @Test(.enabled(if: hasAVX2, "needs a processor with AVX2")) func codeForAnOldProcessorIsToldOnce() throws {
    var job = Job("train", small)
    job.environment["DNNL_MAX_CPU_ISA"] = "SSE41"
    let slow = try job.run(ranks: 2)
    #expect(
      slow.status == 0 && slow.standardError.components(separatedBy: "limited to sse41").count == 2, "\(slow.standardError)")
    #expect(slow.standardError.contains("unset DNNL_MAX_CPU_ISA"))
    job.environment["DNNL_MAX_CPU_ISA"] = "ALL"
    #expect(try !job.run().standardError.contains("oneDNN"))
  }

  private static let hasAVX2 = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.contains(" avx2 ") ?? false
}
