import Buffers
import Collectives
import Foundation
import MPI
import Networks
import PointToPoint
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Runs in which ranks take steps alone and meet after some.
@Suite(.serialized) struct LocalStepsTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.codec, $0.momentum, $0.learningRate) = (strategy, "none", 0, 0.1)
      ($0.schedule, $0.warmStart) = ("constant", nil)
      change(&$0)
    }
  }

  private func hash(_ options: TrainerOptions) throws -> UInt64 { try train(options).modelHash }

  /// Compares a model, which is the same on all ranks, with that of plain lines, on the first of them.
  private func expectBits(
    _ found: FloatBuffer, of plain: PlainRounds, _ options: TrainerOptions, _ name: String,
    at place: SourceLocation = #_sourceLocation
  ) throws {
    guard world.rank == 0 else { return }
    let right = try plain.train(options).start
    let wrong = right.indices.filter { found[$0].bitPattern != right[$0].bitPattern }
    #expect(wrong.isEmpty, "\(name): \(wrong.count) of \(right.count) values differ", sourceLocation: place)
  }

  /// Rounds of every outer step are those of a few plain lines, bit for bit; the last is shorter.
  @Test(
    arguments: [
      ("local:steps=3,outer-rate=0.7,outer-momentum=0.5", OuterRule.Style.nesterov, 0.7, 0.5, 0.9),
      ("local:steps=3,outer=heavy-ball,outer-rate=0.5,outer-momentum=0.6", .heavyBall, 0.5, 0.6, 0),
      ("local-sgd:steps=6", .none, 1, 0, 0.5), ("local:steps=7,outer=none,outer-rate=0.9", .none, 0.9, 0, 0),
      ("local:steps=3,outer=lion,outer-rate=0.003,outer-momentum=0.8", .lion, 0.003, 0.8, 0),
    ])
  func roundsAreThoseOfPlainLines(
    _ strategy: String, _ style: OuterRule.Style, _ rate: Float, _ outer: Float, _ momentum: Double
  ) throws {
    let run = settings(strategy) { $0.momentum = momentum }
    let steps = Int(strategy.split(separator: "steps=")[1].prefix { $0.isNumber })!
    let plain = PlainRounds(steps: steps, style: style, rate: rate, momentum: outer) { _ in world.count }
    try expectBits(try trainedModel(run).values, of: plain, run, strategy)
  }

  /// A step in a round, with plain descent inside, is synchronous descent with Nesterov's momentum at the rate αη (L2).
  @Test func roundsOfOneStepAreNesterov() throws {
    let local = try trainedModel(settings("local:steps=1,outer-rate=0.5,outer-momentum=0.6")).values
    let nesterov = try trainedModel(
      settings("all-reduce") { ($0.optimizer, $0.momentum, $0.learningRate) = ("sgd:nesterov=true", 0.6, 0.05) }
    ).values
    let heavy = try trainedModel(settings("local:steps=1,outer=heavy-ball,outer-rate=0.5,outer-momentum=0.6")).values
    func distance(_ a: FloatBuffer, _ b: FloatBuffer) -> Float { (0..<a.count).map { abs(a[$0] - b[$0]) }.max()! }
    #expect(distance(local, nesterov) < 2e-5)
    #expect(distance(heavy, nesterov) > 1e-3)
  }

  /// Block momentum saves W, from which rounds do not begin.
  @Test(.ranks(atMost: 4)) func blockMomentumSavesTheModelBeforeItsLookAhead() throws {
    let run = settings("block-momentum:steps=4,outer-momentum=0.75,inner=keep")
    let (start, model) = try PlainRounds(steps: 4, style: .nesterov, rate: 1, momentum: 0.75) { _ in world.count }.train(run)
    let found = try trainedModel(run).values
    func distance(_ right: [Float]) -> Float { right.indices.map { abs(found[$0] - right[$0]) }.max()! }
    #expect(distance(model) < 1e-4)
    #expect(distance(start) > 1e-2)
    // The momentum follows from the number of ranks.
    let usual = try hash(settings("block-momentum:steps=4"))
    #expect(try hash(settings("block-momentum:steps=4,outer-momentum=\(1 - 1 / Double(world.count))")) == usual)
  }

  /// Between meetings nothing crosses: half as many rounds, half as many exchanges and records.
  @Test(.ranks(atLeast: 2)) func nothingCrossesBetweenMeetings() throws {
    func counts(_ steps: Int) throws -> (exchanges: Int, records: Int, messages: Int) {
      let run = settings("local:steps=\(steps),warm-start=0") {
        ($0.codec, $0.steps, $0.verifyEvery, $0.logEvery, $0.evaluateEvery) = ("one-bit", 24, 0, 1000, 1000)
        $0.transport = .messages
      }
      let trainer = try TrainingRun(run, on: world, isSilent: true)
      _ = try trainer.run()
      let report = trainer.strategy.report
      // Until the comparison with floats at the end, which runs of several hosts do not make.
      return (report.steps, report.agreementTraffic.messagesSent, report.traffic.messagesSent)
    }
    let (three, six, twelve) = (try counts(3), try counts(6), try counts(12))
    #expect((three.exchanges, six.exchanges, twelve.exchanges) == (8, 4, 2))
    #expect(three.messages == 4 * twelve.messages && six.messages == 2 * twelve.messages)
    #expect(three.records - six.records == 4 * (world.count - 1))
    #expect(six.records - twelve.records == 2 * (world.count - 1))
  }

  /// What optimizers average crosses as floats in each round, is counted as such, and is predicted; what they count is agreed on.
  @Test(.ranks(atLeast: 2), .ranks(atMost: 4), arguments: ["", ",fragments=2"])
  func averagesOfOptimizersAreCounted(_ keys: String) throws {
    func report(_ inner: String, _ optimizer: String) throws -> (ExchangeReport, parameterCount: Int) {
      let run = settings("local:steps=4,warm-start=1,inner=\(inner)\(keys)") {
        ($0.codec, $0.steps, $0.transport) = ("one-bit", 12, .messages)
        ($0.optimizer, $0.momentum, $0.learningRate) = (optimizer, TrainerOptions().momentum, 0.003)
      }
      let trainer = try TrainingRun(run, on: world, isSilent: true)
      _ = try trainer.run()
      return (trainer.strategy.report, trainer.parameters.count)
    }
    let ((averaged, count), (kept, _), (plain, _)) = (
      try report("average", "adam"), try report("keep", "adam"), try report("keep", "sgd")
    )
    let others = world.count - 1
    #expect(averaged.traffic == averaged.predictedInAll && kept.traffic == kept.predictedInAll)
    // Both moments: to the owners and from them, and 8 bytes of each rank; two rounds follow the warm start of one.
    let round = 2 * others * (2 * 4 * count + 8 * world.count)
    func more(_ path: KeyPath<ExchangeReport, Traffic>) throws -> Int {
      try world.allReduce((averaged[keyPath: path] - kept[keyPath: path]).networkBytesSent, .sum)
    }
    #expect(try more(\.traffic) == 2 * round && more(\.warmStartTraffic) == round)
    #expect(try more(\.predictedInAll) == 2 * round && more(\.predictedTraffic) == round && more(\.floatsInAll) == 2 * round)
    // Two numbers of each rank's optimizer in each of three rounds.
    let numbers = kept.agreementTraffic - plain.agreementTraffic
    #expect((numbers.networkBytesSent, numbers.messagesSent) == (3 * 2 * 8 * others, 3 * others))
  }

  /// What is due inside a round happens where it ends, and changes nothing; runs repeat.
  @Test(.ranks(atMost: 4), arguments: ["none", "one-bit", "e3m0", "top-k:k=1/10"])
  func meetingsChangeNothing(_ codec: String) throws {
    let run = settings("local:steps=6") { ($0.codec, $0.momentum) = (codec, 0.5) }
    let found = try hash(run)
    var often = run
    (often.evaluateEvery, often.verifyEvery) = (5, 1)
    let (outcome, lines) = try metrics(often)
    #expect(outcome.modelHash == found)
    // After 6, 12, 18 and 20 steps: a multiple of 5 has passed in each round.
    #expect(lines.count { $0["event"] as? String == "epoch" } == 4)
    #expect(try hash(run) == found)
    #expect(try world.allGather([found]).allSatisfy { $0 == found })
  }

  /// A rank whose gradient is not finite contributes nothing to its round, and all follow the others.
  @Test(.ranks(atLeast: 2), .ranks(atMost: 4)) func aRankThatIsNotFiniteIsLeftOut() throws {
    let run = settings("local:steps=4,outer-momentum=0.5,outer-rate=0.7") { ($0.injectNonFinite, $0.momentum) = ("8:1", 0.5) }
    var plain = PlainRounds(steps: 4, style: .nesterov, rate: 0.7, momentum: 0.5) { _ in world.count }
    plain.isLeftOut = { $0 == 2 && $1 == 1 }
    try expectBits(try trainedModel(run).values, of: plain, run, "left out")
    var abort = run
    abort.nonFinite = .abort
    let error = #expect(throws: (any Error).self) { try train(abort) }
    #expect("\(error!)".contains("1 contribution not finite"), "\(error!)")
    var zero = run
    (zero.nonFinite, zero.injectNonFinite) = (.zero, "8:1")
    #expect(try train(zero).evaluation!.loss.isFinite)
  }

  /// An outer momentum on top of an inner one is warned of, if the optimizer has one with these settings, whatever it keeps.
  @Test(
    .ranks(atMost: 2),
    arguments: [
      ("sgd", 0.5, true), ("sgd", 0, false), ("sgd:time-constant=2429.8", 0.9, true), ("adam", 0.9, true),
      ("adam:beta1=0", 0.9, false),
    ]) func momentaOnTopOfOneAnotherAreWarnedOf(_ optimizer: String, _ momentum: Double, _ isWarned: Bool) throws
  {
    let run = settings("local:steps=4,outer-rate=0.7,outer-momentum=0.9,inner=keep") {
      ($0.optimizer, $0.momentum) = (optimizer, momentum)
    }
    let warnings = try TrainingRun(run, on: world, isSilent: true).strategy.warnings
    #expect(warnings.contains { $0.contains("on top of that of --optimizer") } == isWarned, "\(warnings)")
  }

  /// FedProx holds a rank at the start of its round, and clipping shortens its own gradients, as in plain lines.
  @Test(.ranks(atMost: 4)) func ranksAreHeldAndClipped() throws {
    var drifts: [Double] = []
    for proximal in [0, 0.5, 2] as [Float] {
      let run = settings("local-sgd:steps=5,proximal=\(proximal)") { $0.clip = 0.8 }
      var plain = PlainRounds(steps: 5, style: .none, rate: 1, momentum: 0) { _ in world.count }
      (plain.proximal, plain.clip) = (proximal, 0.8)
      let (values, right) = (try trainedModel(run).values, try plain.train(run).start)
      #expect(right.indices.allSatisfy { abs(values[$0] - right[$0]) < 1e-5 }, "\(proximal)")
      drifts.append(try #require(try metrics(run).lines.last?["drift"] as? Double))
    }
    #expect(drifts[1] < 0.95 * drifts[0] && drifts[2] < 0.9 * drifts[1], "\(drifts)")
    #expect(try hash(settings("local-sgd:steps=5,proximal=0")) == hash(settings("local-sgd:steps=5")))
  }

  /// Decay beside the gradient is no change that ranks found, in whichever part of a round a fragment is exchanged: an outer momentum does
  /// not multiply it, and no residual holds it.
  @Test(
    .ranks(atMost: 3),
    arguments: [
      ("", "none"), ("", "one-bit"), (",fragments=2", "none"), (",fragments=3,delay=1", "none"), (",delay=4", "none"),
    ])
  func decayIsNoPartOfWhatCrosses(_ keys: String, _ codec: String) throws {
    let run = settings("local:steps=4,outer-momentum=0.9,outer-rate=0.7,warm-start=0\(keys)") {
      ($0.optimizer, $0.momentum, $0.learningRate, $0.codec) = ("adamw", TrainerOptions().momentum, 0.01, codec)
      // Far below its ε, so that nothing but decay moves the model.
      ($0.weightDecay, $0.clip) = (0.5, 1e-30)
    }
    let (plain, values) = (try PlainRun(run), try trainedModel(run).values)
    let factor = Float(pow(1 - 0.01 * 0.5, 20))
    for tensor in plain.network.layout.tensors {
      let kept = tensor.shape.count > 1 ? factor : 1
      let worst = tensor.range.map { abs(values[$0] - kept * plain.weights[$0]) }.max() ?? 0
      #expect(worst < 1e-6, "\(tensor.name)")
    }
  }

  /// Every name trains with floats, codes and a memory, and the ranks stay equal.
  @Test(.ranks(atMost: 4), arguments: ["local:steps=4", "local-sgd:steps=4", "block-momentum:steps=4", "diloco:steps=4"])
  func everyNameTrains(_ strategy: String) throws {
    let first = try train(settings(strategy) { ($0.steps, $0.learningRate) = (4, 1e-6) }).evaluation!.loss
    for codec in ["none", "one-bit", "multi-bit:bits=2", "e3m0", "top-k:k=1/10", "fetch-sgd:k=1/10,columns=1/4"] {
      let isChange = codec.hasPrefix("top-k") || codec.hasPrefix("fetch")
      // Where the memory has the momentum it is that of the heavy ball.
      let plain = strategy.hasPrefix("block") || strategy.hasPrefix("diloco")
      let keys = isChange && plain ? ",outer=heavy-ball,outer-momentum=0.5" : ""
      let outcome = try train(settings(strategy + keys) { ($0.codec, $0.steps) = (codec, 40) })
      #expect(outcome.evaluation!.loss < first, "\(strategy) \(codec)")
    }
  }

  @Test func whatCannotBeIsRefused() throws {
    let cases: [(String, String, (inout TrainerOptions) -> Void)] = [
      ("local", "--codec auto does not go with --strategy local", { $0.codec = "auto" }),
      ("local", "--warm-start replicated:3 does not go with --strategy local", { $0.warmStart = .replicated(3) }),
      ("local", "--warm-start auto does not go with --strategy local", { $0.warmStart = .automatic }),
      ("local", "--tune-rate does not go with --strategy local", { $0.tuneRate = "after-epoch" }),
      ("local", "--optimizer adagrad does not go with --strategy local", { $0.optimizer = "adagrad" }),
      ("local", "--emulate-speed does not go with --strategy local", { $0.emulateSpeed = .roundRobin }),
      ("local:outer=nesterov,outer-momentum=0.5", "outer=nesterov does not go with a code", { $0.codec = "top-k" }),
      ("local:outer=lion", "outer=lion does not go with a code", { $0.codec = "true-top-k" }),
      ("local:outer=none,outer-momentum=0.5", "outer=none has no momentum", { _ in }),
      ("local:outer=best", "unknown outer 'best'", { _ in }), ("local:steps=0", "steps is a whole number", { _ in }),
      ("local:inner=lost", "unknown inner 'lost'", { _ in }),
    ]
    for (strategy, sentence, change) in cases {
      do {
        _ = try TrainingRun(settings(strategy, change), on: world, isSilent: true)
        Issue.record("\(strategy): not refused, \(sentence)")
      } catch { #expect("\(error)".contains(sentence), "\(strategy): \(error)") }
    }
  }

  /// Slices of a model wait for one another in each layer, and no rank that takes steps alone has one.
  @Test(.oneProcess) func slicesOfModelsAreRefused() throws {
    let names = strategies.entries.map(\.name).filter { (try? strategies.make($0))?.capabilities.stepsAlone == true }
    #expect(names.contains("local") && names.contains("fed-avg") && names.contains("sparse-loco"))
    for name in names {
      let error = #expect(throws: OptionError.self) {
        try Recipe(options { ($0.strategy, $0.warmStart, $0.modelParallel) = (name, nil, 2) })
      }
      let sentence = "--model-parallel 2 does not go with --strategy \(name), whose ranks take steps alone"
      #expect(error.map { "\($0)".contains(sentence) } == true, "\(name): \(error.map { "\($0)" } ?? "not refused")")
    }
  }
}
