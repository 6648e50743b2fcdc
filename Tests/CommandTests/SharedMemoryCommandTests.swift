import Foundation
import Testing
import _TestSupport

/// Runs with as little shared memory as containers have: a file system of 64 MB that only the job sees.
@Suite(.serialized, .outsideMPI, .enabled(if: canMount, "needs a mount namespace of its own: run as root"))
struct SharedMemoryCommandTests {
  /// Runs `train` with `megabytes` of /dev/shm; returns what became of it, and whether the model was written.
  private func train(ranks: Int, megabytes: Int, _ arguments: [String]) throws -> (result: JobResult, hasModel: Bool) {
    let path = NSTemporaryDirectory() + "morse-shared-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let script = "mount -t tmpfs -o size=\(megabytes)m tmpfs /dev/shm && exec mpirun -np \(ranks) \"$@\""
    let data = ["--data", "glyphs:train=1000,test=100", "--minibatch", "64", "--steps", "3", "--quiet", "--output", path]
    var job = Job("/usr/bin/env", ["unshare", "-m", "bash", "-c", script, "bash", Job("train").executable] + data + arguments)
    job.timeLimit = 240
    let result = try job.run()
    return (result, FileManager.default.fileExists(atPath: path))
  }

  /// What the codecs are measured with is given back.
  @Test(arguments: [["--codec", "auto"], ["--codec", "auto", "--strategy", "double-buffer"]])
  func eightRanksOfTheUsualModelMeasureAndTrainIn64MB(arguments: [String]) throws {
    let (result, hasModel) = try train(ranks: 8, megabytes: 64, arguments)
    #expect(result.status == 0 && hasModel, "\(arguments): \(result.status) \(result.standardError)")
  }

  /// Gradients of two ranks take 5.4 MB, and sums 2.7 MB: they cannot be shared, and training goes on without.
  @Test func ranksThatCannotShareMemoryExchangeByMessages() throws {
    let (result, hasModel) = try train(ranks: 2, megabytes: 6, ["--codec", "one-bit"])
    #expect(result.status == 0 && hasModel, "\(result.status) \(result.standardError)")
    let warnings = result.standardError.split(separator: "\n").filter { $0.contains("/dev/shm") }
    #expect(warnings.count == 1 && warnings[0].contains("by messages"), "\(result.standardError)")
  }

  /// Gradients of two ranks take 5.4 MB, their codes 0.2 MB; a trial of floats would take 2.7 MB more.
  @Test func whatIsMeasuredForTheReportDoesNotCostTheModel() throws {
    let (result, hasModel) = try train(ranks: 2, megabytes: 8, ["--codec", "one-bit", "--warm-start", "0"])
    #expect(result.status == 0 && hasModel, "\(result.status) \(result.standardError)")
    #expect(
      result.standardOutput.contains("whether floats would have been faster was not measured: no shared memory is left"),
      "\(result.standardOutput)")
  }
}

/// Whether this user may mount file systems that only he sees.
private let canMount: Bool = {
  let job = Job("/usr/bin/env", ["unshare", "-m", "bash", "-c", "mount -t tmpfs -o size=1m tmpfs /dev/shm"])
  return (try? job.run().status) == 0
}()
