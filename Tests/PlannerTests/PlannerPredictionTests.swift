import Buffers
import Codecs
import Collectives
import Planner
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport

/// Predictions of steps: their bytes against the geometry's, their times against sums by hand.
@Suite(.oneProcess) struct PlannerPredictionTests {
  private let layout = TensorLayout([
    ("layers.2.weight", [10, 512]), ("layers.2.bias", [10]), ("layers.1.weight", [512, 784]), ("layers.1.bias", [512]),
  ])
  private let oneBit = OneBit()

  @Test func bytesAreThoseOfTheExchange() throws {
    let costs = PlanCosts(
      compute: CostCurve(perUnit: 1e-4), network: LinkCosts(latency: 1e-4, bitsPerSecond: 1e8), ranksPerHost: 1)
    let predictor = StepPredictor(layout, minibatch: 256, costs: costs)
    for codec in [oneBit, Identity()] as [any Codec] {
      for ranks in [2, 3, 8] {
        let prediction = try #require(predictor.predict(codec, ranks: ranks))
        let geometry = ExchangeGeometry(layout, codec: codec, rankCount: ranks, rule: .messages)
        let traffic = (0..<ranks).map {
          geometry.predictedTraffic(
            of: $0, over: ExchangeRoutes(leaders: Array(0..<ranks), isHierarchical: false))
        }
        #expect(prediction.bytesSent == traffic.map(\.bytesSent).max())
        #expect(traffic.map(\.messagesSent).contains(prediction.messages))
      }
    }
  }

  @Test func bytesOfSeveralRanksOnAHostAreThoseOfTheRoutes() throws {
    // Several buckets of several segments.
    let layout = TensorLayout([("layers.2.weight", [1200, 700]), ("layers.1.weight", [900, 1200]), ("layers.1.bias", [900])])
    #expect(ExchangeGeometry(layout, codec: oneBit, rankCount: 4, rule: .messages).buckets.count > 1)
    let memory = LinkCosts(latency: 1e-6, transfer: CostCurve(perUnit: 1e-10))
    for codec in [oneBit, Identity()] as [any Codec] {
      // The last host may have fewer ranks than the others.
      for (ranks, ranksPerHost) in [(4, 2), (6, 2), (6, 3), (7, 3)] {
        let costs = PlanCosts(
          compute: CostCurve(perUnit: 1e-4), network: LinkCosts(latency: 1e-4, bitsPerSecond: 1e8), memory: memory,
          ranksPerHost: ranksPerHost)
        let predictor = StepPredictor(layout, minibatch: 256, costs: costs)
        let geometry = ExchangeGeometry(layout, codec: codec, rankCount: ranks, rule: .messages)
        for topology in PlanTopology.allCases {
          let prediction = try #require(predictor.predict(codec, ranks: ranks, topology: topology))
          let routes = ExchangeRoutes(
            leaders: (0..<ranks).map { $0 - $0 % ranksPerHost }, isHierarchical: topology == .hierarchical)
          let bytes = (0..<ranks).map { geometry.predictedTraffic(of: $0, over: routes).networkBytesSent }
          #expect(bytes.contains(prediction.bytesSent), "\(codec.name) \(ranks) \(ranksPerHost) \(topology)")
        }
      }
    }
  }

  @Test func hierarchyTakesTheBytesOfAHostOnceOverTheLink() throws {
    let memory = LinkCosts(latency: 1e-6, transfer: CostCurve(perUnit: 1e-10))
    let costs = PlanCosts(
      compute: CostCurve(perUnit: 1e-4), network: LinkCosts(latency: 1e-4, bitsPerSecond: 1e8), memory: memory, ranksPerHost: 2)
    let predictor = StepPredictor(layout, minibatch: 256, costs: costs)
    let flat = try #require(predictor.predict(oneBit, ranks: 8))
    let hierarchical = try #require(predictor.predict(oneBit, ranks: 8, topology: .hierarchical))
    #expect(flat.hosts == 4 && hierarchical.hosts == 4)
    // Flat: 6 of 8 shards leave the host, twice, from each of two ranks; hierarchical: 3 of 4, twice, from the host.
    let ratio = Double(hierarchical.bytesSent) / Double(flat.bytesSent)
    #expect(abs(ratio - 0.5) < 0.02)
    #expect(hierarchical.exchangeSeconds < 0.6 * flat.exchangeSeconds)
    #expect(hierarchical.messages == 6 && flat.messages == 12)
    // On one host nothing leaves it.
    let inside = try #require(predictor.predict(oneBit, ranks: 2, topology: .hierarchical))
    #expect(inside.variant.topology == .flat && inside.messages == 0)
  }

  @Test func aStepIsComputingAgreementAndExchange() throws {
    let count = Double(layout.count)
    let costs = PlanCosts(
      compute: CostCurve(fixed: 2e-3, perUnit: 1e-4), postSeconds: 8e-3, updateSeconds: 1e-3,
      kernels: ["one-bit:group=row": KernelCosts(encode: 4e-9, decode: 2e-9, sum: 1e-9, sumPerCode: 0.5e-9)],
      network: LinkCosts(latency: 1e-3, messageSeconds: 1e-4, bitsPerSecond: 1e7), ranksPerHost: 1)
    let predictor = StepPredictor(layout, minibatch: 256, costs: costs)
    let prediction = try #require(predictor.predict(oneBit, ranks: 8))
    #expect(abs(prediction.computeSeconds - 5.2e-3) < 1e-12)
    // On 8 ranks a shard is one message. A seventh of the encoding passes before the first leaves; the sum decodes eight codes
    // of an eighth of the values, and encodes; a seventh is decoded, with the update, after the last has arrived.
    let wire = Double(prediction.bytesSent) * 8 / 1e7
    let latency = 1e-3 + 6 * 1e-4
    let kernels = count * (4e-9 / 7 + 1e-9 / 8 + 0.5e-9 + 4e-9 / 8 + 2e-9 / 7)
    let expected = wire + 2 * latency + kernels + 8e-3 / 8 + 1e-3 / 7
    #expect(abs(prediction.exchangeSeconds - expected) < 0.01 * kernels)
    #expect(abs(prediction.seconds - (5.2e-3 + latency + expected)) < 0.01 * kernels)

    // Double-buffered: the longer of computing half of it and exchanging, twice; ranks agree on a half while the one before travels.
    for (perSample, isComputing) in [(1e-4, false), (1e-1, true)] {
      var costs = costs
      costs.compute = CostCurve(fixed: 2e-3, perUnit: perSample)
      let doubled = try #require(
        StepPredictor(layout, minibatch: 256, costs: costs).predict(oneBit, ranks: 8, strategy: .doubleBuffer))
      let longer = isComputing ? 2e-3 + 16 * perSample + 1e-3 + 1e-3 + latency : expected - 1e-3 - 1e-3 / 7
      #expect(abs(doubled.seconds - 2 * longer) < 0.02 * kernels)
    }
  }

  @Test func whatPartsDoNotExplainIsAdded() throws {
    func predictor(_ remainders: [String: Double]) -> StepPredictor {
      var link = LinkCosts(latency: 1e-3, bitsPerSecond: 1e8)
      link.remainders = remainders
      return StepPredictor(
        layout, minibatch: 256, costs: PlanCosts(compute: CostCurve(perUnit: 1e-4), network: link, ranksPerHost: 1))
    }
    let (plain, more) = (predictor([:]), predictor([oneBit.specification: 5e-3]))
    for ranks in [2, 8] {
      let (before, after) = (
        try #require(plain.predict(oneBit, ranks: ranks)), try #require(more.predict(oneBit, ranks: ranks))
      )
      #expect(abs(after.exchangeSeconds - before.exchangeSeconds - 5e-3) < 1e-12)
      #expect(abs(after.seconds - before.seconds - 5e-3) < 1e-12)
      #expect(more.predict(Identity(), ranks: ranks) == plain.predict(Identity(), ranks: ranks))
    }
    #expect(more.predict(oneBit, ranks: 1) == plain.predict(oneBit, ranks: 1))
    // Never less than nothing.
    #expect(try #require(predictor([oneBit.specification: -1]).predict(oneBit, ranks: 2)).exchangeSeconds == 0)
  }

  @Test func withoutLatencyAndKernelsItIsThePapersModel() throws {
    // Many equal groups, so that shards are equal; a link of which floats take 40 ms.
    let layout = TensorLayout([("weights", [1024, 4096])])
    let bits = Double(8 * 8 * layout.count) / 40e-3
    let costs = PlanCosts(
      compute: CostCurve(perUnit: 1e-4), postSeconds: 9e-3, updateSeconds: 0,
      network: LinkCosts(latency: 0, bitsPerSecond: bits), ranksPerHost: 1)
    let predictor = StepPredictor(layout, minibatch: 4096, costs: costs)
    let model = try #require(predictor.scalingModel)
    #expect(abs(model.floatExchangeSeconds - 40e-3) < 1e-12 && abs(model.frameSeconds - 1e-4) < 1e-15)
    for codec in [oneBit, Identity()] as [any Codec] {
      for ranks in [64, 256] {
        for (strategy, isDoubleBuffered) in [(PlannedStrategy.allReduce, false), (.doubleBuffer, true)] {
          let prediction = try #require(predictor.predict(codec, ranks: ranks, strategy: strategy))
          let expected = model.minibatchSeconds(
            ranks: ranks, ratio: predictor.ratio(of: codec), isDoubleBuffered: isDoubleBuffered)
          #expect(abs(prediction.seconds - expected) < 0.03 * expected, "\(codec.name) \(ranks) \(isDoubleBuffered)")
        }
      }
    }
  }

  @Test func edges() throws {
    let costs = PlanCosts(compute: CostCurve(perUnit: 1e-4), updateSeconds: 1e-3)
    let predictor = StepPredictor(layout, minibatch: 7, costs: costs)
    // One rank exchanges nothing; of a link that is not known nothing is predicted; no more ranks than samples.
    #expect(abs(try #require(predictor.predict(oneBit, ranks: 1)).seconds - 1.7e-3) < 1e-12)
    #expect(predictor.predict(oneBit, ranks: 2) == nil && predictor.scalingModel == nil)
    var wired = costs
    wired.network = LinkCosts(latency: 1e-6, bitsPerSecond: 1e9)
    #expect(StepPredictor(layout, minibatch: 7, costs: wired).predict(oneBit, ranks: 8) == nil)
    // More ranks than groups, and a model without parameters.
    let tiny = StepPredictor(TensorLayout([("bias", [3])]), minibatch: 1 << 14, costs: wired)
    let far = try #require(tiny.predict(oneBit, ranks: 1 << 14))
    #expect(far.seconds.isFinite && far.seconds > 0)
    #expect(StepPredictor(TensorLayout(), minibatch: 8, costs: wired).predict(oneBit, ranks: 8)?.bytesSent == 0)
  }
}

extension StepPredictor {
  /// Codecs can be for any number of parameters.
  fileprivate func predict(
    _ codec: any Codec, ranks: Int, topology: PlanTopology = .flat, strategy: PlannedStrategy = .allReduce
  ) -> StepPrediction? {
    try! predict(AggregationRecipe(codec), ranks: ranks, topology: topology, strategy: strategy)
  }

  fileprivate func ratio(of codec: any Codec) -> Double { try! ratio(of: AggregationRecipe(codec)) }
}
