import Buffers
import Collectives
import Foundation
import MPI
import Networks
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Local steps in which a fragment is exchanged at a time, ranks go on during an exchange, and go only a part of the way to the
/// model.
@Suite(.serialized) struct StreamingStepsTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.codec, $0.momentum, $0.learningRate) = (strategy, "none", 0.5, 0.1)
      ($0.schedule, $0.warmStart) = ("constant", nil)
      change(&$0)
    }
  }

  private func expectBits(
    _ run: TrainerOptions, _ plain: PlainStreams, at place: SourceLocation = #_sourceLocation
  ) throws {
    let found = try trainedModel(run).values
    guard world.rank == 0 else { return }
    let right = try plain.train(run)
    let wrong = right.indices.filter { found[$0].bitPattern != right[$0].bitPattern }
    #expect(wrong.isEmpty, "\(run.strategy): \(wrong.count) of \(right.count) values differ", sourceLocation: place)
  }

  /// Fragments are whole rows, every value is in one, and they are of nearly the same size.
  @Test(.oneProcess, arguments: [1, 2, 3, 4, 7, 13]) func fragmentsAreCutBetweenRows(_ count: Int) throws {
    var layout = TensorLayout([("a", [40, 10]), ("b", [40]), ("c", [9, 3, 2]), ("d", [5])])
    layout.append("e", shape: [4, 7], kind: .raw)
    let fragments = try #require(ModelFragment.cut(layout, into: count))
    #expect(fragments.map(\.range) == PlainStreams.ranges(of: layout, count))
    #expect(fragments.flatMap { Array($0.range) } == Array(0..<layout.count))
    for fragment in fragments {
      #expect(fragment.layout.count == fragment.range.count)
      #expect(abs(fragment.range.count - layout.count / count) <= 40)
      for tensor in fragment.layout.tensors {
        let whole = try #require(layout.tensor(at: fragment.range.lowerBound + tensor.range.lowerBound))
        #expect(tensor.name.hasPrefix(whole.name) && tensor.kind == whole.kind && tensor.rowLength == whole.rowLength)
        #expect(tensor.shape.dropFirst() == whole.shape.dropFirst() && tensor.shape.reduce(1, *) == tensor.count)
      }
    }
    #expect(ModelFragment.cut(layout, into: 1000) == nil)
  }

  /// Rounds are those of a few plain lines, bit for bit: parts of a round of different lengths, exchanges in flight from round to
  /// round, and at the end an exchange of everything.
  @Test(
    arguments: [
      (6, 3, 0, 1), (6, 2, 3, 1), (4, 1, 4, 1), (6, 4, 1, 1), (5, 1, 2, 0.5), (6, 3, 2, 0.25), (5, 1, 0, 0.5), (1, 1, 1, 1),
    ] as [(Int, Int, Int, Float)])
  func streamsAreThoseOfPlainLines(_ steps: Int, _ fragments: Int, _ delay: Int, _ mix: Float) throws {
    let keys = "steps=\(steps),fragments=\(fragments),delay=\(delay),mix=\(mix)"
    let run = settings("local:\(keys),outer-rate=0.7,outer-momentum=0.5")
    try expectBits(run, PlainStreams(steps: steps, fragments: fragments, delay: delay, mix: mix, ranks: world.count))
  }

  /// With one fragment, no delay and the whole way to the model, nothing changes.
  @Test(.ranks(atMost: 4), arguments: ["one-bit", "top-k:k=1/10"]) func usualSettingsChangeNothing(_ codec: String) throws {
    let usual = try train(settings("local:steps=6") { $0.codec = codec }).modelHash
    #expect(try train(settings("local:steps=6,fragments=1,delay=0,mix=1") { $0.codec = codec }).modelHash == usual)
    #expect(try train(settings("local:steps=6,fragments=2") { $0.codec = codec }).modelHash != usual)
  }

  /// A rank alone that follows its own changes goes its own way, whatever is delayed: no step is lost, and none counts twice.
  @Test(
    .ranks(atMost: 2),
    arguments: ["delay=2", "delay=5", "fragments=5,delay=1", "fragments=2", "mix=0.5", "fragments=2,delay=1,mix=0.5"])
  func noStepIsLost(_ keys: String) throws {
    let alone = try world.split(color: world.rank)!
    let plain = try trainedModel(settings("all-reduce"), on: alone).values
    let found = try trainedModel(settings("local:steps=5,outer=none,outer-rate=1,\(keys)"), on: alone).values
    let distance = (0..<plain.count).map { abs(plain[$0] - found[$0]) }.max()!
    #expect(distance < 1e-4, "\(keys): \(distance)")
    try world.barrier()
  }

  /// A rank that is not finite is left out of one exchange, with all that it had not sent, and begins anew at the model.
  @Test(.ranks(atLeast: 2), .ranks(atMost: 4), arguments: [(4, 2, 0), (4, 2, 2), (4, 1, 3)])
  func aRankThatIsNotFiniteIsLeftOut(_ steps: Int, _ fragments: Int, _ delay: Int) throws {
    let keys = "steps=\(steps),fragments=\(fragments),delay=\(delay)"
    let run = settings("local:\(keys),outer-rate=0.7,outer-momentum=0.5") { $0.injectNonFinite = "8:1" }
    var plain = PlainStreams(steps: steps, fragments: fragments, delay: delay, ranks: world.count)
    plain.leftOut = (8, 1)
    try expectBits(run, plain)
  }

  /// All fragments together send what the model does, and one of P about a P-th: what is counted is what is predicted.
  @Test(.ranks(atLeast: 2), arguments: ["none", "one-bit"]) func oneFragmentCrossesAtATime(_ codec: String) throws {
    func report(_ fragments: Int) throws -> ExchangeReport {
      let run = settings("local:steps=8,warm-start=0,fragments=\(fragments)") {
        ($0.codec, $0.model, $0.transport, $0.steps) = (codec, "mlp:64,64", .messages, 24)
      }
      let trainer = try TrainingRun(run, on: world, isSilent: true)
      trainer.lastStep = 16
      _ = try trainer.run()
      return trainer.strategy.report
    }
    let (one, four) = (try report(1), try report(4))
    #expect((one.steps, four.steps, four.shape.fragments) == (2, 8, 4))
    #expect(one.traffic == one.predictedInAll && four.traffic == four.predictedInAll)
    // Over all ranks, owners of other rows make no difference; each message has a header.
    let counts = try [one, four].map { report in
      let own = [Int64(report.traffic.bytesSent), Int64(report.traffic.messagesSent)]
      let all = try world.allGather(own)
      return (0..<2).map { word in stride(from: word, to: all.count, by: 2).reduce(0) { $0 + Int(all[$1]) } }
    }
    let difference = counts[1][0] - counts[0][0] - 64 * (counts[1][1] - counts[0][1])
    #expect(abs(difference) < counts[0][0] / 200, "\(counts)")
    let largest = try #require(four.shape.largestTraffic).bytesSent
    #expect(4 * largest < one.predictedTraffic.bytesSent * 3 / 2 + 4 * 64 * four.predictedTraffic.messagesSent)
  }

  /// What carries an exchange on while ranks compute changes no bit, nor what is due on the way.
  @Test(
    .ranks(atMost: 4),
    arguments: [("none", "delay=3"), ("one-bit", "fragments=2,delay=3,warm-start=1"), ("top-k:k=1/10", "delay=2,mix=0.5")])
  func neitherOverlapNorMeetingsChangeABit(_ codec: String, _ keys: String) throws {
    let run = settings("local:steps=6,\(keys)") { ($0.codec, $0.transport, $0.overlap) = (codec, .messages, .off) }
    let right = try train(run).modelHash
    for overlap in [Overlap.inline, .thread] {
      var other = run
      (other.overlap, other.evaluateEvery, other.verifyEvery) = (overlap, 5, 1)
      #expect(try train(other).modelHash == right, "\(overlap)")
    }
    #expect(try train(run).modelHash == right)
    #expect(try world.allGather([right]).allSatisfy { $0 == right })
  }

  /// A job that is stopped after `steps` steps: its model, what is on its way to the second of two fragments, and that fragment.
  private func stopped(
    _ run: TrainerOptions, after steps: Int
  ) throws -> (model: [Float], arrived: [Float], range: Range<Int>) {
    let trainer = try TrainingRun(run, on: world, isSilent: true)
    trainer.lastStep = steps
    #expect(try trainer.run().wasStopped)
    var state = StateInventory()
    trainer.strategy.contribute(to: &state)
    let arrived = try #require(state.tensor("arrivedFragment"))
    return (Array(trainer.parameters.values), Array(arrived.values), PlainStreams.ranges(of: trainer.network.layout, 2)[1])
  }

  /// Another number of ranks applies what was on its way, and begins at the model: with a rate of zero nothing else moves it.
  @Test(.ranks(atLeast: 2)) func otherRanksApplyWhatIsOnItsWay() throws {
    let directory = try TemporaryDirectory(on: world)
    var run = settings("local:steps=4,fragments=2,delay=2,outer=none,outer-rate=0.5") {
      ($0.checkpoint, $0.schedule, $0.steps) = (directory.path + "/checkpoints", "step:every=8,by=0", 12)
    }
    let (before, arrived, range) = try stopped(run, after: 8)
    #expect(range.contains { arrived[$0 - range.lowerBound] != 0 })
    try world.barrier()
    run.resume = true
    if let alone = try world.split(color: world.rank == 0 ? 0 : nil) {
      let second = try TrainingRun(run, on: alone, isSilent: true)
      _ = try second.run()
      let wrong = before.indices.filter { i in
        // What has arrived is the step with its sign.
        abs(second.parameters[i] - before[i] - (range.contains(i) ? arrived[i - range.lowerBound] : 0)) > 1e-6
      }
      #expect(wrong.isEmpty, "\(wrong.count) of \(before.count) values differ")
    }
    try world.barrier()
  }

  @Test(.ranks(atMost: 2)) func whatCannotBeIsRefused() throws {
    let cases: [(String, String, (inout TrainerOptions) -> Void)] = [
      ("local:steps=4,fragments=5", "fragments is a whole number", { _ in }),
      ("local:steps=6,fragments=2,delay=4", "delay is a whole number", { _ in }),
      ("local:mix=0", "with mix=0 no rank learns", { _ in }),
      ("local:steps=1000,fragments=900", "fragments=900 are more than the model has rows", { _ in }),
      ("fed-avg:delay=2", "--clients 5 does not go with --strategy fed-avg, whose ranks go on from models", { $0.clients = 5 }),
      ("local:fragments=2", "clients begin each round at the model of the run; leave these keys out", { $0.clients = 5 }),
      ("diloco:mix=0.5", "--partition by-class:2 does not go with --strategy diloco", { $0.partition = "by-class:2" }),
      ("local", "--overlap thread does not go with --strategy local, whose ranks compute nothing", { $0.overlap = .thread }),
      ("gossip", "--overlap inline does not go with --strategy gossip", { $0.overlap = .inline }),
      ("asgd", "--overlap thread does not go with --strategy asgd", { $0.overlap = .thread }),
    ]
    for (strategy, sentence, change) in cases {
      do {
        _ = try TrainingRun(settings(strategy, change), on: world, isSilent: true)
        Issue.record("\(strategy): not refused, \(sentence)")
      } catch { #expect("\(error)".contains(sentence), "\(strategy): \(error)") }
    }
    #expect(try train(settings("local:steps=4,delay=2") { $0.overlap = .thread }).evaluation!.loss.isFinite)
  }
}
