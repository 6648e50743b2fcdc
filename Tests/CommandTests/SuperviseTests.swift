import Buffers
import Foundation
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// `scripts/supervise` starts a job again that has lost a rank, and no other.
@Suite(.serialized, .outsideMPI) struct SuperviseTests {
  private let directory = NSTemporaryDirectory() + "morse-supervise-\(UUID().uuidString)"

  private func job(_ options: [String], ranks: Int = 3, _ arguments: [String]) -> Job {
    let root = URL(fileURLWithPath: #filePath).appending(path: "../../..").standardizedFileURL
    let usual = [
      "--data", "glyphs:train=330,test=70", "--model", "mlp:24,16", "--minibatch", "60", "--quiet", "--learning-rate", "0.01",
      "--verify-every", "5", "--checkpoint-every", "3", "--log-every", "1", "--checkpoint", directory + "/saved", "--metrics",
      directory + "/metrics",
    ]
    let command = ["mpirun", "-q", "-np", "\(ranks)", Job("train").executable]
    var job = Job(root.appending(path: "scripts/supervise").path, options + command + usual + arguments)
    job.timeLimit = 90
    return job
  }

  private var told: String { (try? String(contentsOfFile: directory + "/metrics", encoding: .utf8)) ?? "" }

  /// The hash of the model at the end.
  private func hash(_ metrics: String) -> String? {
    metrics.split(separator: "\"modelHash\":\"").last.map { String($0.prefix(16)) }
  }

  /// The ranks, lowest first.
  private var ranks: [Int32] {
    processes(mentioning: directory).filter {
      (try? String(contentsOfFile: "/proc/\($0)/cmdline", encoding: .utf8))?.hasPrefix(Job("train").executable) ?? false
    }.sorted()
  }

  private static let strategies: [String] = {
    let all = Strategies.strategies.entries.map(\.name)
    return ProcessInfo.processInfo.environment["MORSE_FAULT_TABLE"] == nil ? ["double-buffer", "asgd"] : all
  }()

  @Test(arguments: strategies) func aRunThatLosesARankGoesOn(_ strategy: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    // The pause, in which a rank dies, is over before the second job begins with a later step.
    let arguments = [
      "--strategy", specification(of: strategy, meetingEvery: 3), "--steps", "24", "--inject-fault",
      "pause:rank=0,phase=data,step=14,seconds=0.8",
    ]
    let isInStep = (try? Strategies.strategies.make(strategy))?.capabilities.isInStep ?? true
    var unbroken: String?
    if isInStep {
      #expect(try job([], arguments).run().status == 0)
      unbroken = hash(told)
      try FileManager.default.removeItem(atPath: directory + "/saved")
      try FileManager.default.removeItem(atPath: directory + "/metrics")
    }
    let running = try job([], arguments).start()
    wait { told.contains("\"step\":12,") }
    let ranks = ranks
    try #require(ranks.count == 3)
    kill(ranks[1], SIGKILL)
    let ended = running.wait()
    let words = ended.standardError
    #expect(ended.status == 0 && !ended.isTimedOut, "\(words)")
    #expect(words.contains("supervise: the job ended with status 137 after"), "\(words)")
    #expect(words.contains("it goes on from its last checkpoint on this machine (start 2 of 11)"), "\(words)")
    #expect(ended.standardOutput.contains("resumed from \(directory)/saved/step-000000"), "\(ended.standardOutput)")
    #expect(told.contains("\"event\":\"end\",\"steps\":24"))
    if let unbroken { #expect(hash(told) == unbroken) }
  }

  @Test func aRunThatLosesARankAgainAndAgainIsGivenUp() throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let fault = ["--steps", "24", "--inject-fault", "kill:rank=1,phase=step,step=8"]
    let ended = try job(["--restarts", "1"], ranks: 2, fault).run()
    #expect(ended.status == 137 && ended.standardError.contains("it is given up (start 2 of 2)"), "\(ended.standardError)")
    let whatWouldRecur = try job([], ranks: 2, ["--steps", "0"]).run()
    #expect(whatWouldRecur.status == 64 && !whatWouldRecur.standardError.contains("supervise:"), "\(whatWouldRecur)")
    for (arguments, words) in [
      (["--restarts", "x", "mpirun"], "--restarts is a number"), (["mpirun", "-np", "2", "true"], "nothing to go on from"),
      (["true"], "what is supervised is mpirun"), (["--sleep", "mpirun"], "unknown option '--sleep'"),
    ] {
      var refused = job([], [])
      refused.arguments = arguments
      let result = try refused.run()
      #expect(result.status == 64 && result.standardError.contains(words), "\(result.standardError)")
    }
  }

  /// Who asks the script to stop asks the job, which saves, and the script.
  @Test func aRunThatIsToStopStops() throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let running = try job([], ranks: 2, ["--steps", "1000000", "--strategy", "asgd"]).start()
    wait { told.contains("\"step\":12,") }
    kill(running.processIdentifier, SIGUSR1)
    let ended = running.wait()
    #expect(ended.status == 75 && ended.standardError.contains("asked to stop by SIGUSR1"), "\(ended.standardError)")
    #expect(!ended.standardError.contains("supervise:"), "\(ended.standardError)")
  }
}
