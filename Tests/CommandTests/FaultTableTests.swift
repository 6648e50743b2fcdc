import Buffers
import Foundation
import Strategies
import Testing
import Trainer
import _TestSupport
@testable import _TrainingSupport

/// One rank of a run stops for a while, dies or throws, in every phase of a run and with every strategy.
///
/// Each strategy meets a fault, and each phase does; with `MORSE_FAULT_TABLE=all` in the environment (`make fault-test`) every strategy
/// meets each fault in each phase, and with a part of a line's name the lines that have it. The table is printed.
@Suite(.serialized, .outsideMPI) struct FaultTableTests {
  @Test(arguments: FaultCase.chosen) func everybodyLearnsOfAFault(_ fault: FaultCase) throws {
    let result = try fault.run()
    print("fault table: \(fault): \(result.words)")
    #expect(result.faults.isEmpty, "\(fault): \(result.faults.joined(separator: "; "))\n\(result.standardError)")
  }

  @Test func everyStrategyIsInTheTable() {
    let names = FaultCase.Strategy.all.flatMap(\.arguments).map { String($0.prefix { $0 != ":" }) }
    for entry in strategies.entries where entry.name != "all-reduce" { #expect(names.contains(entry.name), "\(entry.name)") }
  }

  @Test func faultsThatAreNoneAreRefused() throws {
    for text in ["pause", "pause:rank=1", "pause:phase=data", "sleep:rank=1,phase=data", "kill:rank=1,phase=lunch"] {
      let result = try Job("train", ["--inject-fault", text]).run()
      #expect(result.status == 64 && result.standardError.contains("--inject-fault"), "\(text): \(result.standardError)")
    }
    #expect(try !Job("train", ["--help"]).run().standardOutput.contains("inject"))
  }
}

/// A line of the table.
struct FaultCase: CustomStringConvertible, Sendable {
  let strategy: Strategy
  let phase: Phase
  let kind: Kind

  enum Kind: String, CaseIterable { case pause, kill, `throw` }

  /// In the order of a run; `start` and `end` are met several times.
  enum Phase: String, CaseIterable {
    case start, setup, resume, data, computing, agreement, exchange, delay, evaluation, checkpoint, tuning, realignment, end,
      joining, leaving
  }

  struct Strategy: Sendable {
    let name: String
    let ranks: Int
    let arguments: [String]
    /// Whether a run repeats, so that a pause changes no bit.
    let repeats: Bool

    init(_ name: String, ranks: Int = 3, repeats: Bool = true, _ arguments: [String]) {
      (self.name, self.ranks, self.repeats, self.arguments) = (name, ranks, repeats, arguments)
    }

    /// Those of sparse strategies would spoil their memory, and those that are not in step have no use for it.
    var hasTrials: Bool { arguments.contains("--warm-start") }
    /// Whether ranks take steps while an exchange is under way.
    var hasDelay: Bool { arguments.contains { $0.contains("delay=") } }

    static let all: [Strategy] = {
      // Sparse strategies begin with their own codes.
      let warm = ["--warm-start", "2"]
      let sparse = [
        "fetch-sgd:k=1/20,columns=1/4", "fetch-sgd:k=1/20,columns=1/4,recovery=subtract",
        "fetch-sgd:k=1/20,columns=1/4,recovery=zero",
        "sketched-sgd:k=1/20,columns=1/4", "true-top-k", "local-top-k",
      ]
      return [
        Strategy("all-reduce", warm),
        Strategy("all-reduce by messages", ["--transport", "messages", "--overlap", "thread"] + warm),
        Strategy("double-buffer", ["--strategy", "double-buffer"] + warm),
        Strategy(
          "double-buffer by messages", ["--strategy", "double-buffer", "--transport", "messages", "--overlap", "inline"] + warm),
        Strategy("low-rank", ["--codec", "low-rank"]),
        Strategy("lazy by messages", ["--codec", "lazy", "--optimizer", "sgd", "--momentum", "0", "--transport", "messages"]),
        Strategy("shared scales", ["--codec", "uniform:bits=4,scales=shared,sums=exact", "--transport", "messages"]),
        Strategy("leader-top-k", ["--codec", "leader-top-k"]),
        Strategy("majority-vote", ["--optimizer", "signum", "--learning-rate", "0.001"]),
        Strategy("asgd", repeats: false, ["--strategy", "asgd"]),
        Strategy("dc-asgd", ["--strategy", "dc-asgd", "--emulate-speed", "exp"]),
        Strategy("ssp", ["--strategy", "ssp:bound=1", "--emulate-speed", "slow:3"]),
        Strategy("ad-psgd", repeats: false, ["--strategy", "ad-psgd"]),
        Strategy("gossip", ["--strategy", "gossip:method=choco"]),
        Strategy("gossip in rounds", ["--strategy", "gossip:method=no-loco,steps=2"]),
        Strategy("local", ["--strategy", "local:steps=2,warm-start=1"]),
        Strategy("local-sgd", ["--strategy", "local-sgd:steps=3", "--codec", "true-top-k"]),
        Strategy("fed-avg", ["--strategy", "fed-avg:steps=2", "--clients", "7", "--sampled", "4"]),
        Strategy("fed-prox", ["--strategy", "fed-prox:steps=3", "--codec", "none"]),
        Strategy("diloco", ["--strategy", "diloco:steps=2", "--optimizer", "adamw"]),
        Strategy("sparse-loco", ["--strategy", "sparse-loco:steps=2"]),
        Strategy("streaming", ["--strategy", "local:steps=4,fragments=2,delay=2,warm-start=1"]),
        Strategy(
          "streaming in a thread",
          ["--strategy", "local:steps=4,fragments=2,delay=2", "--transport", "messages", "--overlap", "thread"]),
        Strategy(
          "streaming between layers",
          ["--strategy", "sparse-loco:steps=4,fragments=2,delay=2", "--transport", "messages", "--overlap", "inline"]),
        Strategy("block-momentum by messages", ["--strategy", "block-momentum:steps=2", "--transport", "messages"]),
      ]
        + sparse.map { Strategy($0, ["--strategy", $0]) }
        + [
          Strategy("fetch-sgd by messages", ["--strategy", sparse[1], "--transport", "messages", "--clip", "1"]),
          Strategy("true-top-k by messages", ["--strategy", "true-top-k", "--transport", "messages"]),
          Strategy("easgd", ["--strategy", "easgd:period=2", "--emulate-speed", "exp"]),
          Strategy("eamsgd", ["--strategy", "eamsgd:period=2", "--emulate-speed", "exp"]),
          Strategy("async-local", ["--strategy", "async-local:steps=2", "--emulate-speed", "exp"]),
          Strategy("model parallel", ranks: 4, ["--model-parallel", "2"] + warm),
          Strategy("hierarchical", ranks: 4, ["--pretend-hosts", "2", "--topology", "hierarchical"] + warm),
        ]
    }()
  }

  var description: String { "\(strategy.name), \(phase), \(kind)" }

  private var isPossible: Bool {
    switch phase {
    case .tuning: strategy.hasTrials
    case .delay: strategy.hasDelay
    default: true
    }
  }

  /// Those of this run of the tests.
  static let chosen: [FaultCase] = {
    let (strategies, phases) = (Strategy.all, Phase.allCases)
    let asked = ProcessInfo.processInfo.environment["MORSE_FAULT_TABLE"]
    guard let asked else {
      // Every strategy once and every phase once, with the faults in turn; each fault while an exchange is under way.
      let delayed = zip(strategies.filter(\.hasDelay), Kind.allCases).map {
        FaultCase(strategy: $0, phase: .delay, kind: $1)
      }
      let lines = (0..<max(strategies.count, phases.count)).flatMap { index in
        let kind = Kind.allCases[index % Kind.allCases.count]
        let line = FaultCase(strategy: strategies[index % strategies.count], phase: phases[index % phases.count], kind: kind)
        guard !line.isPossible else { return [line] }
        let other = strategies.lazy.map { FaultCase(strategy: $0, phase: line.phase, kind: kind) }.first { $0.isPossible }
        return (other.map { [$0] } ?? []) + [FaultCase(strategy: line.strategy, phase: .exchange, kind: kind)]
      }
      return lines + delayed.filter { line in !lines.contains { "\($0)" == "\(line)" } }
    }
    let all = strategies.flatMap { strategy in
      phases.flatMap { phase in Kind.allCases.map { FaultCase(strategy: strategy, phase: phase, kind: $0) } }
    }
    return all.filter { $0.isPossible && (asked == "all" || "\($0)".contains(asked)) }
  }()

  /// What came of it.
  struct Result {
    var words = ""
    var faults: [String] = []
    var standardError = ""
  }

  private static let patience = 0.5
  /// Nobody needs longer than a second more to tell; a busy machine might.
  private static let pause = ProcessInfo.processInfo.environment["MORSE_FAULT_TABLE"] == nil ? 2.5 : 1.5

  func run() throws -> Result {
    let directory = NSTemporaryDirectory() + "morse-faults-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let unbroken = kind == .pause && strategy.repeats ? try job(directory, "unbroken", []).end() : nil
    if phase == .resume { _ = try job(directory, "run", ["--inject-fault", "kill:rank=1,phase=step,step=8"]) }
    let course = try job(
      directory, "run", ["--patience", String(Self.patience), "--inject-fault", fault] + (phase == .resume ? ["--resume"] : []))
    var result = Result()
    result.standardError = course.result.standardError
    func require(_ isRight: Bool, _ sentence: String) { if !isRight { result.faults.append(sentence) } }
    let lines = course.result.standardError.split(separator: "\n").map(String.init)
    require(!course.result.isTimedOut, "the job did not end")
    switch kind {
    case .pause:
      let (paused, resumed) = (lines.firstIndex { $0.hasPrefix("fault: pause") }, lines.firstIndex { $0.hasSuffix("goes on") })
      require(paused != nil && resumed != nil, "no pause")
      let notice = lines.firstIndex { $0.contains("warning: ") && $0.contains("waiting for") && $0.contains("rank 1") }
      require(notice != nil, "nobody was told")
      if let notice, let resumed { require(notice < resumed, "told after the pause alone") }
      require(course.result.status == 0, "status \(course.result.status)")
      let model = try course.end()
      require(unbroken == nil || model == unbroken, "another model")
      result.words = notice.map { "\(lines[$0])" } ?? "not told"
    case .kill, .throw:
      require(course.result.status == (kind == .kill ? 137 : 70), "status \(course.result.status)")
      require(lines.contains { $0.contains("fault") }, "no fault")
      require(lines.contains { $0.contains("--resume") && $0.contains(directory) }, "it is not said how to resume")
      let time = lines.first { $0.hasPrefix("fault: ") }?.split(separator: " ").last.flatMap { Double($0) }
      if let time {
        require(course.ended - time < 10, "\(course.ended - time) s until the end")
        // mpirun may end a moment before the ranks that it has killed.
        wait { processes(mentioning: directory).isEmpty || Date().timeIntervalSince1970 - time > 10 }
      } else {
        require(false, "no time")
      }
      require(processes(mentioning: directory).isEmpty, "ranks are left")
      result.words =
        "status \(course.result.status) after \(String(format: "%.1f", course.ended - (time ?? 0))) s; "
        + (lines.first { $0.contains("--resume") } ?? "")
    }
    if result.faults.count > 0 { result.words = "FAILED: \(result.faults.joined(separator: "; ")); \(result.words)" }
    return result
  }

  /// What the program is told.
  private var fault: String {
    let place =
      switch phase {
      case .start: "phase=start,time=2"
      case .setup: "phase=start,time=3"
      case .end: "phase=end"
      case .joining: "phase=end,time=2"
      case .leaving: "phase=end,time=3"
      case .tuning, .realignment, .resume: "phase=\(phase)"
      default: "phase=\(phase),step=5"
      }
    return "\(kind):rank=1,\(place),seconds=\(Self.pause)"
  }

  /// A job that has ended.
  struct Course {
    let result: JobResult
    let ended: Double
    let metrics: String

    /// The hash of its model; throws where it has not ended well.
    func end() throws -> String {
      let lines = (try? String(contentsOfFile: metrics, encoding: .utf8))?.split(separator: "\n") ?? []
      let line = try #require(lines.last { $0.contains("\"event\":\"end\"") }, "\(result.standardError)")
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      return try #require(object?["modelHash"] as? String)
    }
  }

  private func job(_ directory: String, _ name: String, _ arguments: [String]) throws -> Course {
    var usual = [
      "--model", "mlp:24,16", "--minibatch", "50", "--learning-rate", "0.02", "--schedule", "constant",
      "--verify-every", "5", "--log-every", "3",
      "--evaluate-every", "4", "--quiet", "--checkpoint", "\(directory)/\(name)", "--checkpoint-every", "3",
      "--metrics", "\(directory)/\(name).jsonl", "--timeline", "\(directory)/\(name).json",
    ]
    if phase == .realignment {
      let tones = SpokenTones(directory)
      try tones.write()
      usual += ["--data", tones.specification, "--realign", "1", "--epochs", "3"]
    } else {
      usual += ["--data", "glyphs:train=330,test=70"]
      usual += ["--steps", "12"]
    }
    if phase == .tuning { usual += ["--tune-rate", "search:samples=100"] }
    var job = Job("train", usual + strategy.arguments + arguments)
    job.timeLimit = 120
    let result = try job.run(ranks: strategy.ranks)
    return Course(result: result, ended: Date().timeIntervalSince1970, metrics: "\(directory)/\(name).jsonl")
  }
}
