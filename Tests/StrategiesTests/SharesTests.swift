import Buffers
import Checkpoints
import Collectives
import Foundation
import MPI
import PointToPoint
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// Ranks that share the samples of a step by how fast they are.
@Suite(.serialized, .ranks(atMost: 4)) struct SharesTests {
  private func settings(_ strategy: String, _ change: (inout TrainerOptions) -> Void = { _ in }) -> TrainerOptions {
    options {
      ($0.strategy, $0.codec, $0.momentum, $0.learningRate, $0.schedule) = (strategy, "none", 0.5, 0.1, "constant")
      if strategy.hasPrefix("local") { $0.warmStart = nil }
      change(&$0)
    }
  }

  /// The last rank as fast as `weight`, the others as 4.
  private func listed(_ weight: Int) -> ShareRule {
    .listed([.init(step: 0, weights: Array(repeating: 4, count: world.count - 1) + [weight])])
  }

  /// The examples of the guide, and a sample for each at least.
  @Test(.oneProcess) func samplesAreInProportion() {
    #expect(ShareRule.counts(10, by: [1, 1, 1]) == [4, 3, 3])
    #expect(ShareRule.counts(64, by: [3, 2, 2]) == [28, 18, 18])
    #expect(ShareRule.counts(3, by: [1, 1, 1, 1, 1]) == [1, 1, 1, 0, 0])
    #expect(ShareRule.counts(256, by: [1, 0.5, 0.25, 2]) == [68, 34, 17, 137])
    #expect(ShareRule.counts(0, by: [1, 2]) == [0, 0] && ShareRule.counts(5, by: [0, 0]) == [3, 2])
    #expect(ShareRule.countsOfAll(6, by: [1, 1, 1000, 1]) == [1, 1, 3, 1])
    #expect(ShareRule.countsOfAll(2, by: [1, 1, 9]) == ShareRule.counts(2, by: [1, 1, 9]))
  }

  /// Every sample of a step is with one rank, in parts of a step, too, and from the step that a change names.
  @Test(.oneProcess) func placesFollowShares() {
    var plan = RunPlan(options { ($0.minibatch, $0.steps) = (50, 40) }, sampleCount: 330)
    plan.share(by: [30, 5, 15], from: 10)
    for step in [0, 9, 10, 13, 20] {
      for (part, parts) in [(0, 1), (0, 2), (1, 2)] {
        let all = plan.places(of: step, part: part, of: parts)
        let own = (0..<3).map { plan.places(of: step, part: part, of: parts, rank: $0, ranks: 3) }
        #expect(own.flatMap { Array($0) } == Array(all))
        let counts = own.map(\.count)
        let right = step < 10 ? nil : ShareRule.counts(all.count, by: [30, 5, 15])
        #expect(right.map { $0 == counts } ?? (counts.max()! - counts.min()! <= 1), "\(step): \(counts)")
      }
    }
    // Those of another number of ranks say nothing.
    #expect(plan.places(of: 12, rank: 1, ranks: 2).count == 25)
  }

  /// Samples count alike, whoever takes them.
  @Test(.ranks(atLeast: 2), arguments: ["all-reduce", "double-buffer"]) func sharesChangeOnlyTheOrderOfSums(_ strategy: String)
    throws
  {
    let equal = try trainedModel(settings(strategy)).values
    let other = try trainedModel(settings(strategy) { $0.shares = listed(1) }).values
    #expect((0..<equal.count).map { abs(equal[$0] - other[$0]) }.max()! < 1e-4)
  }

  /// Shares follow the speeds, here those of a clock that the machine does not move; the run is repeated by what it has written
  /// down, resumes bit for bit, and repeats.
  @Test(
    .ranks(atLeast: 2),
    arguments: [("all-reduce", "one-bit"), ("local:steps=4", "none"), ("local:steps=4,fragments=2,delay=1", "none")])
  func measuredSharesAreWrittenDown(_ strategy: String, _ codec: String) throws {
    let run = settings(strategy) { ($0.codec, $0.shares, $0.emulateSpeed) = (codec, .measured(every: 4), .slow(factor: 4)) }
    let (outcome, lines) = try metrics(run)
    let changes = lines.filter { $0["event"] as? String == "shares" }
    let weights = Array(repeating: 1.0, count: world.count - 1) + [0.25]
    #expect(changes.map { $0["step"] as? Int } == [4])
    #expect(changes.first?["shares"] as? [Int] == ShareRule.counts(50, by: weights))
    var repeated = run
    let text = try #require(changes.first?["option"] as? String)
    (repeated.shares, repeated.emulateSpeed) = (.listed([.init(step: 4, weights: ShareRule.counts(50, by: weights))]), nil)
    #expect(repeated.texts["shares"] == text)
    #expect(try train(repeated).modelHash == outcome.modelHash)
    #expect(try train(settings(strategy) { $0.codec = codec }).modelHash != outcome.modelHash)
    #expect(try trainBrokenOff(after: 8, run, period: strategy.hasPrefix("local") ? 4 : 1).modelHash == outcome.modelHash)
  }

  /// Shares stay where they gain less than 5 %, and where a speed is unknown.
  @Test func smallGainsChangeNothing() throws {
    func decide(_ factor: Double, isKnown: Bool = true) throws -> [Int]? {
      let shares = MeasuredShares(every: 10) { _, _, seconds in world.rank == 0 ? seconds * factor : seconds }
      if isKnown || world.rank > 0 { shares.note(0, samples: 20, seconds: 2) }
      let records = try RecordExchange(HostMap(world))
      #expect(try shares.decide(after: 9, minibatch: 100 * world.count, current: nil, over: records) == nil)
      let found = try shares.decide(after: 10, minibatch: 100 * world.count, current: nil, over: records)
      #expect(try shares.decide(after: 19, minibatch: 100 * world.count, current: nil, over: records) == nil)
      return found
    }
    #expect(try decide(1.04) == nil && decide(1, isKnown: false) == nil)
    let changed = try decide(3)
    #expect(world.count == 1 ? changed == nil : changed!.reduce(0, +) == 100 * world.count && changed![0] < changed![1])
  }

  /// With `pace=steps` a slower rank takes fewer steps of a round, at least five, of as many samples as others, and counts by its
  /// samples.
  @Test(.ranks(atLeast: 2), arguments: [(1, 5), (3, 7)]) func slowRanksTakeFewerSteps(_ weight: Int, _ count: Int) throws {
    let run = settings("local:steps=10,pace=steps,outer-rate=0.7,outer-momentum=0.5") { $0.shares = listed(weight) }
    var plain = PlainRounds(steps: 10, style: .nesterov, rate: 0.7, momentum: 0.5) { _ in world.count }
    plain.mostSteps = { $0 == world.count - 1 ? count : .max }
    let found = try trainedModel(run).values
    guard world.rank == 0 else { return }
    let right = try plain.train(run).start
    #expect(right.indices.allSatisfy { found[$0].bitPattern == right[$0].bitPattern })
  }

  @Test func whatCannotBeIsRefused() throws {
    let other = ShareRule.listed([.init(step: 0, weights: Array(repeating: 1, count: world.count + 1))])
    let cases: [(String, String, (inout TrainerOptions) -> Void)] = [
      ("asgd", "--shares measured does not go with --strategy asgd", { $0.shares = .measured(every: 100) }),
      ("gossip", "--shares measured does not go with --strategy gossip", { $0.shares = .measured(every: 100) }),
      ("fed-avg", "--shares measured:every=5 does not go with clients", { ($0.shares, $0.clients) = (.measured(every: 5), 5) }),
      ("all-reduce", "--shares names the shares of \(world.count + 1) ranks; there are \(world.count)", { $0.shares = other }),
      ("local:pace=steps", "pace=steps follows the speeds of --shares measured", { _ in }),
      ("local", "--emulate-speed does not go with --strategy local", { $0.emulateSpeed = .roundRobin }),
    ]
    for (strategy, sentence, change) in cases {
      do {
        _ = try TrainingRun(settings(strategy, change), on: world, isSilent: true)
        Issue.record("\(strategy): not refused, \(sentence)")
      } catch { #expect("\(error)".contains(sentence), "\(strategy): \(error)") }
    }
  }
}
