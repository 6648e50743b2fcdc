import Buffers
import Codecs
import Collectives
import Planner
import Strategies
import Testing
import Trainer
import _TestSupport

/// Paces in step and out of step, for spreads whose paces are known.
@Suite(.oneProcess) struct PlannerPaceTests {
  private let layout = TensorLayout([("layers.1.weight", [512, 1024])])
  private let aggregation = AggregationRecipe(OneBit())

  /// Gradients of eight ranks that take `seconds`; a network whose costs are too small to matter unless `link` says otherwise.
  private func predictor(
    _ seconds: [[Double]], link: LinkCosts = LinkCosts(latency: 1e-9, bitsPerSecond: 1e15),
    kernels: KernelCosts = KernelCosts(),
    compute: Double? = nil, ranksPerHost: Int = 1
  ) -> PacePredictor {
    let spread = StepSpread(seconds)
    let costs = PlanCosts(
      compute: CostCurve(perUnit: (compute ?? spread.typicalMean) / 32), kernels: ["one-bit:group=row": kernels], network: link,
      ranksPerHost: ranksPerHost)
    return PacePredictor(StepPredictor(layout, minibatch: 256, costs: costs), spread: spread)
  }

  private func comparison(_ predictor: PacePredictor, requested: String? = nil) throws -> PaceComparison {
    try #require(try PaceComparison(predictor, ranks: 8, aggregation: aggregation, requested: requested))
  }

  private func isNear(_ found: Double, _ expected: Double, within share: Double = 0.03) -> Bool {
    abs(found - expected) <= share * expected
  }

  @Test func equalRanksGainNothing() throws {
    let pace = try comparison(predictor(Array(repeating: [0.01], count: 8)))
    #expect(isNear(pace.inStep.gradientsPerSecond, 800) && isNear(pace.free.gradientsPerSecond, 800))
    #expect(isNear(pace.bounded.gradientsPerSecond, 800) && pace.bounded.waiting < 0.01 && pace.choice == pace.inStep)
    #expect(pace.sentence.hasPrefix("It does not pay to train without waiting"))
  }

  /// A delay hides what its steps take, of each fragment; one record more for each is agreed on.
  @Test func aDelayHidesExchanges() throws {
    let costs = PlanCosts(
      compute: CostCurve(perUnit: 0.01 / 32), kernels: ["one-bit:group=row": KernelCosts()],
      network: LinkCosts(latency: 1e-6, bitsPerSecond: 1e7))
    let predictor = StepPredictor(layout, minibatch: 256, costs: costs)
    func predict(_ keys: String) throws -> StepPrediction {
      let strategy = try PlannedStrategy("local:steps=40,\(keys)")
      return try #require(try predictor.predict(aggregation, ranks: 8, strategy: strategy))
    }
    let (usual, parts) = (try predict("fragments=1"), try predict("fragments=4"))
    #expect(usual.exchangeSeconds > 0.03 && isNear(parts.seconds, usual.seconds))
    #expect(usual.bytesSent == parts.bytesSent && parts.seconds > usual.seconds)
    let (some, whole) = (try predict("delay=1"), try predict("fragments=4,delay=10"))
    #expect(abs(usual.seconds - some.seconds - some.aloneSeconds / 40) < 1e-9)
    #expect(whole.seconds < usual.seconds && whole.seconds >= whole.aloneSeconds)
    #expect(whole.aloneSeconds / whole.seconds > 0.99, "\(whole)")
  }

  /// One rank that is always four times slower: 2 gradients in the time of one with any bound, 7 + ¼ without (experiments §2).
  @Test func aBoundDoesNotHelpAgainstASlowRank() throws {
    let pace = try comparison(predictor(Array(repeating: [0.01], count: 7) + [[0.04]]))
    #expect(isNear(pace.inStep.gradientsPerSecond, 200) && isNear(pace.free.gradientsPerSecond, 725))
    #expect(isNear(pace.bounded.gradientsPerSecond, 200, within: 0.05))
    #expect(isNear(pace.bounded.waiting, 0.656, within: 0.05))
    #expect(pace.choice == pace.free && pace.sentence.contains("rank 7 takes 4.00 times as long as a usual one"))
    #expect(pace.spread.slowest.rank == 7 && isNear(pace.spread.slowest.factor, 4))
  }

  /// Gradients that take five times as long now and then: all wait for the worst of eight in step, hardly any with a bound.
  @Test func aBoundHelpsAgainstTimesThatVary() throws {
    let times = Array(repeating: [0.05] + Array(repeating: 0.01, count: 9), count: 8)
    let pace = try comparison(predictor(times))
    // The mean of the slowest of eight is 1 + 4·(1 − 0.9⁸).
    let slowest = 0.01 + 0.04 * (1 - 0.43046721)
    #expect(isNear(pace.inStep.gradientsPerSecond, 8 / slowest, within: 0.12))
    #expect(isNear(pace.free.gradientsPerSecond, 8 / 0.014))
    // Experiments §2 has 4.33 of 5.71 with a bound of 2, and 5.30 with 8.
    #expect((433.0...530).contains(pace.bounded.gradientsPerSecond))
    #expect(pace.choice == pace.bounded && pace.sentence.contains("--strategy ssp:bound=3 would apply"))
    #expect(isNear(pace.spread.variation, 1.2 / 1.4))
  }

  /// Nothing is faster than the link, nor than what cores can do as workers and owners.
  @Test func theLinkAndTheOwnersAreLimits() throws {
    let times = Array(repeating: [0.001], count: 8)
    let link = LinkCosts(latency: 1e-6, bitsPerSecond: 1e8)
    let shards = ShardCodes(layout, codec: OneBit(), shardCount: 8)
    let bytes = Double((0..<8).reduce(0) { $0 + shards.byteCount(of: $1) })
    // A rank alone on its host waits for its push and for the answer, seven of eight shards each: more than the link needs.
    let alone = try comparison(predictor(times, link: link))
    #expect(isNear(alone.free.gradientsPerSecond, 8 / (0.001 + 2 * bytes * 7 / 8 * 8 / 1e8)) && alone.free.limit == .workers)
    // Four ranks share a link, over which each sends half of its shards and as many answers.
    let shared = try comparison(predictor(times, link: link, ranksPerHost: 4))
    #expect(isNear(shared.free.gradientsPerSecond, 8 / (2 * bytes / 2 * 4 * 8 / 1e8)) && shared.free.limit == .link)
    let kernels = KernelCosts(encode: 4e-9, decode: 1e-9)
    let busy = try comparison(predictor(times, kernels: kernels))
    let (count, shard) = (Double(layout.count), Double(layout.count) / 8)
    // Of a core's second, a gradient takes what the worker does and eight times what an owner does.
    #expect(isNear(busy.free.gradientsPerSecond, 8 / (0.001 + count * 5e-9 + 8 * shard * 6e-9)))
    #expect(busy.free.limit == .owners && busy.free.gradientsPerSecond < busy.inStep.gradientsPerSecond)
  }

  /// The spread is that of the measured ranks; its unit is what a gradient costs in the plan.
  @Test func spreadsScaleWithTheCosts() throws {
    let slow = predictor([[1], [1], [3]], compute: 0.01)
    let pace = try #require(slow.asynchronous("asgd", bound: nil, codec: OneBit(), ranks: 8))
    // Ranks 2 and 5 are slow.
    #expect(isNear(pace.gradientsPerSecond, 6 / 0.01 + 2 / 0.03) && pace.staleness == 7)
    let spread = StepSpread([[1, 3], [2, 2]])
    #expect(spread.mean(of: 0) == 2 && spread.deviation(of: 0) == 1 && spread.deviation(of: 1) == 0)
    #expect(spread.scaled(toTypicalMean: 4).seconds == [[2, 6], [4, 4]])
  }

  /// What a push costs is shared by the gradients that it carries, and hidden by the next ones if it is pipelined.
  @Test func pushesOfSeveralGradientsCostLess() throws {
    let link = LinkCosts(latency: 1e-6, bitsPerSecond: 1e8)
    let slow = predictor(Array(repeating: [0.001], count: 8), link: link)
    let shards = ShardCodes(layout, codec: OneBit(), shardCount: 8)
    let oneWay = Double((0..<8).reduce(0) { $0 + shards.byteCount(of: $1) }) * 7 / 8 * 8 / 1e8
    func pace(_ strategy: String) throws -> PacePrediction { try #require(try comparison(slow, requested: strategy).requested) }
    #expect(isNear(try pace("asgd:push=1").gradientsPerSecond, 8 / (0.001 + 2 * oneWay)))
    #expect(isNear(try pace("asgd:push=4").gradientsPerSecond, 8 / (0.001 + 2 * oneWay / 4)))
    #expect(isNear(try pace("async-local:steps=100").gradientsPerSecond, 8 / (0.001 + 2 * oneWay / 100)))
    #expect(isNear(try pace("asgd:pull-every=2").gradientsPerSecond, 8 / (0.001 + 1.5 * oneWay)))
    // The link is busy all the time, or the workers are.
    #expect(isNear(try pace("asgd:pipeline=true").gradientsPerSecond, 8 / max(0.001, 2 * oneWay)))
    #expect(isNear(try pace("ssp:push=4,bound=3").gradientsPerSecond, 8 / (0.001 + 2 * oneWay / 4)))
  }

  /// Of workers that average in pairs, half wait for an answer that takes longer than a gradient; more than the link carries is not sent.
  @Test func halfOfPairsWaitForAnswers() throws {
    let (link, model) = (LinkCosts(latency: 1e-6, bitsPerSecond: 1e9), 4 * Double(layout.count) * 8 / 1e9)
    func pace(_ times: [Double], ranksPerHost: Int = 1) throws -> PacePrediction {
      let predictor = predictor(times.map { [$0] }, link: link, ranksPerHost: ranksPerHost)
      return try #require(try comparison(predictor, requested: "ad-psgd").requested)
    }
    let slow = Array(repeating: 20 * model, count: 8)
    #expect(isNear(try pace(slow).gradientsPerSecond, 8 / (20 * model)))
    let fast = Array(repeating: model / 0.75, count: 8)
    #expect(isNear(try pace(fast).gradientsPerSecond, 4 / (2 * model) + 4 / (model / 0.75)))
    #expect(try pace(fast).limit == .workers)
    // Four ranks share a link, which carries a model at a time.
    let shared = try pace(fast, ranksPerHost: 4)
    #expect(isNear(shared.gradientsPerSecond, 2 / model) && shared.limit == .link)
  }

  @Test func whatIsAskedForIsAnswered() throws {
    let even = predictor(Array(repeating: [0.01], count: 8))
    let pace = try comparison(even, requested: "dc-asgd:bound=2")
    #expect(pace.requested?.strategy == "dc-asgd:bound=2" && pace.predictions.count == 5)
    #expect(pace.sentence.hasPrefix("With --strategy dc-asgd:bound=2 8 ranks would apply "))
    #expect(try comparison(even, requested: "double-buffer").requested == nil)
    // One rank waits for nobody, and without costs of a link nothing is known.
    #expect(try PaceComparison(even, ranks: 1, aggregation: aggregation) == nil)
    var unknown = even.steps.costs
    unknown.network = nil
    let unlinked = PacePredictor(StepPredictor(layout, minibatch: 256, costs: unknown), spread: even.spread)
    #expect(try PaceComparison(unlinked, ranks: 8, aggregation: aggregation) == nil)
  }
}
