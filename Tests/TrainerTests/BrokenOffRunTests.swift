import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Optimizers
import PointToPoint
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs of every kind, broken off in the middle: they end as the unbroken one, and tell of every step and epoch what it tells.
@Suite(.serialized) struct BrokenOffRunTests {
  /// A kind of run.
  struct Run: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: @Sendable (inout TrainerOptions) -> Void

    init(_ name: String, _ change: @escaping @Sendable (inout TrainerOptions) -> Void) {
      (testDescription, self.change) = (name, change)
    }

    /// Twenty steps, of which an epoch has seven.
    var options: TrainerOptions {
      _TrainingSupport.options {
        $0.logEvery = 1
        change(&$0)
      }
    }
  }

  private static let dense = ["all-reduce", "double-buffer"]

  /// Whatever the registries know, as it is by default, so that nothing new is forgotten.
  static let registered: [Run] =
    strategies.entries.map { entry in
      Run("strategy \(entry.name)") {
        ($0.strategy, $0.learningRate) = (specification(of: entry.name, meetingEvery: 1), 0.02)
        // The order of a live run is that of its messages.
        if let recipe = try? strategies.make(entry.name), recipe.obstacles.orders == nil { $0.emulateSpeed = .exponential }
      }
    }
    + codecs.entries.flatMap { entry in
      dense.map { strategy in Run("codec \(entry.name), \(strategy)") { ($0.codec, $0.strategy) = (entry.name, strategy) } }
    }
    + [
      "low-rank:rank=1,refresh=3", "svd:rank=1", "spectral:rank=1", "pca:length=16,components=2,refresh=5",
      "leader-top-k:k=1/10", "dgc:k=1/100,ramp=24",
      "rotated:bits=2,feedback=0.5",
      "one-bit:ef21=0.2",
      "uniform:bits=4,scales=shared", "terngrad:scales=shared,sums=exact",
    ].flatMap { codec in
      dense.map { strategy in Run("codec \(codec), \(strategy)") { ($0.codec, $0.strategy) = (codec, strategy) } }
    }
    + optimizers.entries.flatMap { entry in
      let (name, recipe) = (optimizerTexts[entry.name] ?? entry.name, try? optimizers.make(entry.name))
      return dense.filter { $0 == "all-reduce" || recipe?.obstacles.otherStrategies == nil }.map { strategy in
        Run("optimizer \(entry.name), \(strategy)") {
          ($0.optimizer, $0.strategy, $0.learningRate) = (name, strategy, 0.02)
          if recipe?.floatSteps != nil { $0.warmStart = nil }
        }
      }
    }
    + schedules.entries.map { entry in Run("schedule \(entry.name)") { $0.schedule = scheduleTexts[entry.name] ?? entry.name } }

  /// Optimizers whose defaults are for longer runs.
  private static let optimizerTexts = [
    "one-bit-adam": "one-bit-adam:freeze=5", "one-bit-lamb": "one-bit-lamb:freeze=5",
    "zero-one-adam": "zero-one-adam:freeze=6,scale=2",
  ]

  /// Schedules that need keys.
  private static let scheduleTexts = ["step": "step:every=6,by=0.5"]

  static let sparse: [Run] =
    [
      "fetch-sgd:k=1/20,columns=1/8,shards=3", "fetch-sgd:k=1/20,columns=1/6,shards=3,recovery=zero",
      "fetch-sgd:k=1/50,columns=1/6,shards=3,recovery=subtract",
      "fetch-sgd:k=1/50,columns=1/6,shards=3,recovery=subtract,window=3",
      "fetch-sgd:k=1/20,columns=1/6,shards=3,recovery=zero,window=2,mask=false",
      "sketched-sgd:k=1/20,columns=1/8,shards=3,hashes=mersenne61", "true-top-k:k=1/20,shards=3", "true-top-k:k=1/5,mask=false",
      "local-top-k:k=1/20,shards=3", "local-top-k:k=1/20,feedback=none",
      "local-top-k:k=1/100,ramp=12,clip=0.5",
    ].map { strategy in
      Run(strategy) {
        ($0.strategy, $0.learningRate, $0.weightDecay) = (strategy, 0.02, 0.01)
        if strategy.contains("recovery") { $0.clip = 0.5 }
        // The third step is skipped; what counts exchanges and what counts steps go apart.
        $0.injectNonFinite = "2:0"
      }
    }

  static let optimizing: [Run] = dense.flatMap { strategy in
    ["aggregate", "partial", "momentum"].map { place in
      Run("adagrad at \(place), \(strategy)") {
        ($0.optimizer, $0.strategy, $0.learningRate) = ("adagrad:place=\(place)", strategy, 0.02)
        ($0.warmStart, $0.weightDecay) = (5, 0.01)
      }
    }
      + ["nesterov=true", "gain=unit", "time-constant=500", "decay=matrices"].map { key in
        Run("sgd:\(key), \(strategy)") { ($0.optimizer, $0.strategy, $0.weightDecay) = ("sgd:\(key)", strategy, 0.01) }
      } + [
        Run("without momentum, \(strategy)") { ($0.momentum, $0.strategy) = (0, strategy) },
        Run("clipped, \(strategy)") { ($0.clip, $0.strategy, $0.warmStart) = (0.3, strategy, 5) },
        Run("by threads, \(strategy)") { ($0.overlap, $0.strategy) = (.thread, strategy) },
        Run("between layers, by messages, \(strategy)") {
          ($0.overlap, $0.transport, $0.strategy) = (.inline, .messages, strategy)
        },
        Run("with zeros for what is not finite, \(strategy)") {
          ($0.nonFinite, $0.injectNonFinite, $0.strategy) = (.zero, "3:0", strategy)
        },
      ]
  }

  static let moments: [Run] = dense.flatMap { strategy in
    ["adam:decay=all", "adamw:beta2=0.99", "adamw:correct=false"].map { optimizer in
      Run("\(optimizer), \(strategy)") {
        ($0.optimizer, $0.strategy, $0.learningRate) = (optimizer, strategy, 0.005)
        ($0.weightDecay, $0.clip, $0.injectNonFinite) = (0.01, 0.3, "2:0")
        $0.warmStart = strategy == "all-reduce" ? .replicated(5) : 5
      }
    }
  }

  static let starting: [Run] = dense.flatMap { strategy in
    ([.floats(9), .replicated(9), .bits([.init(bits: 32, steps: 3), .init(bits: 8, steps: 6)]), .automatic] as [WarmStart]).map
    {
      start in
      Run("\(start), \(strategy)") {
        ($0.warmStart, $0.strategy, $0.learningRate) = (start, strategy, 0.02)
        if start == .automatic { $0.steps = 60 }
      }
    }
  }

  static let dealing: [Run] = ["iid", "by-class:2", "dirichlet:0.3"].flatMap { partition in
    [("all-reduce", 40), ("fetch-sgd:k=1/20,columns=1/8,shards=3", nil)].map { strategy, clients in
      Run("\(partition), \(strategy)") {
        ($0.partition, $0.clients, $0.strategy, $0.learningRate) = (
          partition, partition == "iid" ? 40 : clients, strategy, 0.02
        )
        if partition == "by-class:2" { ($0.clients, $0.sampled) = (40, 8) }
        if partition.hasPrefix("dirichlet") { $0.clients = 12 }
      }
    }
  }

  static let tuning: [Run] = [
    ("search:margin=20", nil), ("search:every=2,margin=20", "after-epoch:improve=5"), (nil, "search:every=2"),
    (nil, "after-epoch:improve=100,continue=true"), (nil, "after-epoch:improve=2,by=test"),
  ].flatMap { (minibatch: String?, rate: String?) in
    dense.flatMap { strategy in
      [("sgd", 0.05), ("adam", 0.005)].map { optimizer, learningRate in
        Run("tuned by \(minibatch ?? "nothing") and \(rate ?? "nothing"), \(strategy), \(optimizer)") {
          ($0.tuneMinibatch, $0.tuneRate, $0.strategy, $0.optimizer) = (minibatch, rate, strategy, optimizer)
          ($0.minibatch, $0.learningRate, $0.schedule, $0.steps) = (40, learningRate, "constant", 36)
        }
      }
    }
  }

  /// What both must tell alike of steps, epochs and decisions; what is sent for an exchange that was in flight, the first job has sent.
  private func story(_ lines: [[String: Any]]) -> [NSDictionary] {
    lines.filter { ["step", "epoch", "tuning", "warmStart"].contains($0["event"] as? String) }
      .map { line in
        var line = line
        for key in ["wireBytes", "messages", "activationBytes"] { line[key] = nil }
        return line as NSDictionary
      }
  }

  /// Compares the unbroken run with one whose first job is killed after the checkpoint of a step, and with one that is asked to stop: at
  /// the end of an epoch it matters whether that job has evaluated.
  private func check(_ options: TrainerOptions, killed: Int?, stopped: Int?, hosts: (Int?, Int?) = (nil, nil)) throws {
    let whole = try brokenOffNowhere(options, host: hosts.0)
    for (step, isStopped) in [(killed, false), (stopped, true)] {
      guard let step else { continue }
      let broken = try brokenOff(after: step, options, isStopped: isStopped, hosts: hosts)
      #expect(broken.outcome == whole.outcome, "after \(step)\(isStopped ? ", stopped" : "")")
      guard world.rank == 0 else { continue }
      let (found, expected) = (story(broken.lines), story(whole.lines))
      #expect(found.count == expected.count, "after \(step)\(isStopped ? ", stopped" : "")")
      for (found, expected) in zip(found, expected) where found != expected {
        Issue.record("after \(step)\(isStopped ? ", stopped" : ""): \(found) for \(expected)")
        break
      }
    }
  }

  private func brokenOffNowhere(
    _ options: TrainerOptions, host: Int?
  ) throws -> (outcome: TrainingOutcome, lines: [[String: Any]]) {
    let directory = try TemporaryDirectory(on: world)
    var options = options
    options.metrics = directory.path + "/metrics.jsonl"
    let outcome = try train(options, host: host)
    try world.barrier()
    defer { try? world.barrier() }
    return (outcome, try metricsLines(options.metrics!))
  }

  /// In the middle of an epoch, and at the end of one.
  @Test(arguments: registered.dealt()) func whatIsRegistered(_ run: Run) throws {
    try check(run.options, killed: 3, stopped: 7)
  }
  @Test(arguments: sparse.dealt()) func descentByFewValues(_ run: Run) throws { try check(run.options, killed: 4, stopped: 14) }
  @Test(.ranks(atMost: 4), arguments: (optimizing + moments).dealt(to: [2, 3, 4])) func optimizersAndExchanges(_ run: Run)
    throws
  {
    try check(run.options, killed: 4, stopped: 7)
  }
  @Test(.ranks(atMost: 4), arguments: starting.dealt(to: [2, 3, 4])) func warmStarts(_ run: Run) throws {
    try check(run.options, killed: 9, stopped: 2)
  }
  @Test(.ranks(atMost: 4), arguments: dealing.dealt(to: [2, 3, 4])) func clients(_ run: Run) throws {
    try check(run.options, killed: 9, stopped: nil)
  }
  @Test(.ranks(atMost: 4), arguments: tuning.dealt(to: [2, 3, 4])) func decisions(_ run: Run) throws {
    try check(run.options, killed: 8, stopped: nil)
  }

  @Test(.ranks(atLeast: 2), arguments: dense) func modelsInSlices(_ strategy: String) throws {
    guard world.count % 2 == 0 else { return }
    for codec in ["one-bit", "none"] {
      let run = Run("") {
        ($0.modelParallel, $0.strategy, $0.codec, $0.learningRate, $0.warmStart) = (2, strategy, codec, 0.02, 5)
        ($0.clip, $0.weightDecay) = (0.5, 0.01)
      }
      try check(run.options, killed: 4, stopped: 7)
    }
  }

  /// The ranks of a model find their own state where the launcher has dealt them to hosts in turn.
  @Test(.ranks(atLeast: 4)) func modelsInSlicesOfRanksThatHostsHaveInTurn() throws {
    guard world.count % 2 == 0 else { return }
    let run = Run("") { ($0.modelParallel, $0.learningRate) = (2, 0.02) }
    try check(run.options, killed: 4, stopped: nil, hosts: (world.rank % 2, world.rank % 2))
  }

  @Test(.ranks(atLeast: 3), arguments: dense, ["one-bit", "none"]) func hostsThatAddUp(_ strategy: String, _ codec: String)
    throws
  {
    let run = Run("") { ($0.strategy, $0.codec, $0.warmStart) = (strategy, codec, 5) }
    try check(run.options, killed: 4, stopped: 7, hosts: (world.rank / 2, world.rank / 2))
  }

  /// Ten skipped steps in a row end a run, whichever job has skipped them.
  @Test(arguments: strategies.entries.map(\.name).dealt()) func stepsSkippedInARowAreCountedOn(_ strategy: String) throws {
    let options = options { ($0.learningRate, $0.strategy) = (1e30, specification(of: strategy, meetingEvery: 1)) }
    var whole = ""
    do { _ = try train(options) } catch { whole = "\(error)" }
    try #require(whole.contains("10 \(options.strategy == strategy ? "steps" : "rounds") in a row"))
    var broken = ""
    do { _ = try brokenOff(after: 6, options) } catch { broken = "\(error)" }
    #expect(broken == whole)
  }
}
