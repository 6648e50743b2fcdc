import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Whole runs of a small model that start in each of the ways of `--warm-start`.
@Suite(.serialized) struct WarmStartRunTests {
  private func events(_ name: String, in lines: [[String: Any]]) -> [[String: Any]] {
    lines.filter { $0["event"] as? String == name }
  }

  /// The run of one rank alone, on every rank; collective.
  private func trainAlone(_ options: TrainerOptions) throws -> TrainingOutcome {
    let alone = try #require(try world.split(color: .some(world.rank)))
    return try TrainingRun(options, on: alone, isSilent: true).run()
  }

  /// Enough steps for an automatic start to end by what it measures, after 16 exchanges, or by its bound, after 20 steps.
  private func long(_ start: WarmStart, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      $0.steps = 80
      $0.warmStart = start
      $0.learningRate = 0.02
      $0.schedule = "constant"
      $0.verifyEvery = 0
      $0.evaluateEvery = 1000
      change(&$0)
    }
  }

  // MARK: - Replicated

  @Test(arguments: pairs(["all-reduce", "double-buffer"], ["one-bit", "none"]).dealt())
  func aReplicatedStartIsThatOfOneRank(strategy: String, codec: String) throws {
    let replicated = options {
      ($0.strategy, $0.codec) = (strategy, codec)
      $0.warmStart = .replicated(20)
      $0.clip = 0.5
      $0.logEvery = 1
    }
    let (outcome, lines) = try metrics(replicated)
    var plain = replicated
    (plain.strategy, plain.codec, plain.warmStart) = ("all-reduce", "none", 0)
    let (alone, linesAlone) = try (trainAlone(plain), metrics(plain).lines)
    #expect(outcome.modelHash == alone.modelHash && outcome.steps == 20)
    #expect(abs(try #require(outcome.evaluation).loss - alone.evaluation!.loss) < 1e-6)
    // Every sample counts once, and no gradient crosses.
    let (steps, stepsAlone) = (events("step", in: lines), events("step", in: linesAlone))
    #expect(steps.count == 20 && steps.allSatisfy { $0["wireBytes"] as? Int == 0 && $0["messages"] as? Int == 0 })
    for (here, there) in zip(steps, stepsAlone) {
      #expect(here["samples"] as? Int == there["samples"] as? Int)
      #expect(abs((here["loss"] as? Double ?? 9) - (there["loss"] as? Double ?? -9)) < 1e-4)
    }
    let epochs = (events("epoch", in: lines), events("epoch", in: linesAlone))
    #expect(epochs.0.count == epochs.1.count && epochs.0.count > 2)
    for (here, there) in zip(epochs.0, epochs.1) {
      #expect(abs((here["trainLoss"] as? Double ?? 9) - (there["trainLoss"] as? Double ?? -9)) < 1e-4)
    }
  }

  @Test func afterAReplicatedStartTheModelGoesOnByCodes() throws {
    let start = options { $0.warmStart = .replicated(6) }
    var logged = start
    logged.logEvery = 1
    let (outcome, lines) = try metrics(logged)
    let bytes = events("step", in: lines).compactMap { $0["wireBytes"] as? Int }
    #expect(bytes.prefix(6).allSatisfy { $0 == 0 } && bytes.dropFirst(6).allSatisfy { ($0 > 0) == (world.count > 1) })
    var floats = start
    floats.warmStart = 6
    // The sums of a warm start are rounded in another order.
    #expect(abs(outcome.evaluation!.loss - (try train(floats).evaluation!.loss)) < 0.2)
  }

  @Test func aSkippedStepOfAReplicatedStartChangesNothing() throws {
    let one = options {
      $0.warmStart = .replicated(3)
      $0.steps = 2
      $0.injectNonFinite = "1:\(World.count - 1)"
    }
    var first = one
    (first.steps, first.schedule, first.injectNonFinite) = (1, "constant", nil)
    var both = one
    both.schedule = "constant"
    #expect(try train(both).modelHash == train(first).modelHash)
  }

  // MARK: - Bits

  @Test func aPhaseOfBitsIsThatCodec() throws {
    for bits in [2, 8] {
      let phase = options { $0.warmStart = .bits([.init(bits: bits, steps: 20)]) }
      let codec = options { $0.codec = "multi-bit:bits=\(bits)" }
      #expect(try train(phase).modelHash == train(codec).modelHash)
    }
    let floats = options { $0.warmStart = .bits([.init(bits: 32, steps: 5)]) }
    #expect(try train(floats).modelHash == train(options { $0.warmStart = 5 }).modelHash)
  }

  /// Neither who exchanges nor how shards are cut changes a bit of what is left behind when the number of bits changes.
  @Test func phasesOfBitsAreTheSameByEveryWay() throws {
    var hashes: Set<UInt64> = []
    for (overlap, transport) in [(Overlap.off, Transport.auto), (.thread, .messages), (.inline, .messages)] {
      let outcome = try train(
        options {
          $0.warmStart = .bits([.init(bits: 16, steps: 3), .init(bits: 4, steps: 5), .init(bits: 2, steps: 4)])
          ($0.overlap, $0.transport) = (overlap, transport)
        })
      hashes.insert(outcome.modelHash)
    }
    #expect(try Set(world.allGather(Array(hashes))).count == 1 && hashes.count == 1)
  }

  @Test func bitsNeedACodecThatEncodes() {
    let floats = options {
      $0.codec = "none"
      $0.warmStart = .bits([.init(bits: 8, steps: 3)])
    }
    #expect { try train(floats) } throws: { "\($0)".contains("--warm-start bits:… needs a --codec that encodes") }
  }

  @Test(
    arguments: [
      ("adagrad", .replicated(3), false), ("adagrad:place=partial", .replicated(3), false), ("adagrad", .automatic, false),
      ("adagrad:place=momentum", .replicated(3), true), ("adagrad:place=partial", .automatic, true),
      ("adagrad", .bits([.init(bits: 32, steps: 2), .init(bits: 4, steps: 3)]), true),
    ] as [(String, WarmStart, Bool)])
  func whatScalesGradientsOnTheWayGoesWithSomeStartsAlone(optimizer: String, start: WarmStart, goes: Bool) throws {
    let run = options { ($0.optimizer, $0.warmStart) = (optimizer, start) }
    if goes {
      #expect(try trainBrokenOff(after: 4, run).modelHash == train(run).modelHash)
    } else {
      #expect { try train(run) } throws: { "\($0)".contains("does not go with --optimizer \(optimizer)") }
    }
  }

  // MARK: - Automatic

  @Test(
    .ranks(atLeast: 2), arguments: ["all-reduce", "double-buffer"],
    [(50, 0.02, true), (1280, 0.001, false)])
  func anAutomaticStartIsOneOfTheLengthThatItFinds(
    strategy: String, setting: (minibatch: Int, rate: Double, fades: Bool)
  ) throws {
    var automatic = long(.automatic) {
      $0.strategy = strategy
      ($0.minibatch, $0.learningRate) = (setting.minibatch, setting.rate)
      $0.data = "glyphs:train=1280,test=70"
      $0.logEvery = 1
    }
    let (outcome, lines) = try metrics(automatic)
    let ends = events("warmStart", in: lines)
    let end = try #require(ends.first?["step"] as? Int)
    let (reason, share) = (ends[0]["reason"] as? String ?? "", try #require(ends[0]["signalShare"] as? Double))
    #expect(ends.count == 1)
    // Small minibatches are noisy; all samples together have no noise but that of the estimate.
    #expect(reason.contains(setting.fades ? "the signal has fallen to" : "a quarter of the run is over"), "\(reason)")
    #expect(setting.fades ? end < 20 && share <= 0.2 : end == 20 && share > 0.2, "\(end), \(share)")
    let watched = events("step", in: lines).filter { $0["signalShare"] is Double }.compactMap { $0["step"] as? Int }
    // Sixteen exchanges, of which double buffering makes two in a step.
    #expect(watched.last == end && watched.first == (strategy == "all-reduce" ? 16 : 9))
    // Watching changes no bit.
    automatic.warmStart = .floats(end)
    #expect(try train(automatic).modelHash == outcome.modelHash)
  }

  @Test(arguments: ["one-bit", "none"]) func whatIsNotCompressedIsNotWatched(codec: String) throws {
    guard world.count == 1 || codec == "none" else { return }
    let (outcome, lines) = try metrics(long(.automatic) { $0.codec = codec })
    #expect(events("warmStart", in: lines).isEmpty)
    #expect(try train(long(0) { $0.codec = codec }).modelHash == outcome.modelHash)
  }

  // MARK: - All of them

  private static let starts: [(WarmStart, breaks: [Int])] = [
    (.replicated(10), [6, 10]), (.bits([.init(bits: 32, steps: 4), .init(bits: 8, steps: 6)]), [3, 7]),
    // Before there is a share, and when there is one.
    (.automatic, [7, 17]),
  ]

  @Test(arguments: pairs(Array(starts.indices), ["all-reduce", "double-buffer"]).dealt())
  func anUnbrokenRunEqualsOneThatWasResumed(index: Int, strategy: String) throws {
    let (start, breaks) = WarmStartRunTests.starts[index]
    let whole = long(start) {
      $0.strategy = strategy
      $0.minibatch = 150
      if start != .automatic { $0.steps = 15 }
    }
    let expected = try train(whole)
    for step in breaks {
      let resumed = try trainBrokenOff(after: step, whole)
      #expect(resumed.modelHash == expected.modelHash && resumed.evaluation == expected.evaluation, "broken off after \(step)")
    }
  }

  @Test(.ranks(atLeast: 4), arguments: starts.indices)
  func modelsInSlicesStartAlike(index: Int) throws {
    guard world.count % 2 == 0 else { return }
    let (start, breaks) = WarmStartRunTests.starts[index]
    let whole = long(start) {
      $0.modelParallel = 2
      $0.minibatch = 150
    }
    let expected = try train(whole)
    #expect(try Set(world.allGather([expected.modelHash])).count == 1)
    #expect(try trainBrokenOff(after: breaks[1], whole).modelHash == expected.modelHash)
    // A slice knows the norm of the whole gradient: the start ends as that of whole models on half as many ranks.
    if start == .automatic {
      let end = try #require(events("warmStart", in: metrics(whole).lines).first)
      let half = try #require(try world.split(color: .some(world.rank % 2)))
      var plain = whole
      plain.modelParallel = 1
      let directory = try TemporaryDirectory(on: world)
      plain.metrics = directory.path + "/\(world.rank % 2).jsonl"
      _ = try TrainingRun(plain, on: half, isSilent: true).run()
      try world.barrier()
      let lines = try String(contentsOfFile: directory.path + "/0.jsonl", encoding: .utf8).split(separator: "\n")
      let line = try #require(lines.first { $0.contains("\"warmStart\",") })
      let other = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      #expect(other["step"] as? Int == end["step"] as? Int)
      let (one, two) = (other["signalShare"] as? Double ?? 9, end["signalShare"] as? Double ?? -9)
      #expect(abs(one - two) < 0.01)
      try world.barrier()
    }
  }

  @Test(arguments: starts.indices.dealt()) func aSearchThatChangesNothingLeavesNoTrace(index: Int) throws {
    let plain = long(WarmStartRunTests.starts[index].0) {
      $0.data = "glyphs:train=1280,test=70"
      $0.steps = 40
    }
    let expected = try train(plain)
    var searching = plain
    searching.tuneMinibatch = "search:max=400,margin=-100"
    #expect(try train(searching) == expected)
    // Where the minibatch grows, a start has as many samples, and a resumed run ends as the unbroken one.
    searching.tuneMinibatch = "search:max=100,margin=1000"
    let grown = try train(searching)
    #expect(grown.modelHash != expected.modelHash && grown.steps < expected.steps)
    #expect(try trainBrokenOff(after: 7, searching) == grown)
  }

  /// A run of another length has the warm start that it began with.
  @Test func aLongerRunKeepsWhatItsStartFound() throws {
    let directory = try TemporaryDirectory(on: world)
    var part = long(.automatic) {
      $0.steps = 80
      $0.schedule = "constant"
      $0.checkpoint = directory.path + "/checkpoints"
      $0.logEvery = 1
    }
    let first = try metrics(part)
    (part.steps, part.resume) = (400, true)
    let rest = try metrics(part)
    #expect(rest.outcome.steps == 400)
    #expect(events("warmStart", in: first.lines).count == (world.count > 1 ? 1 : 0))
    #expect(events("warmStart", in: rest.lines).isEmpty)
    try world.barrier()
  }
}
