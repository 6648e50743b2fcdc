import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Networks
import Planner
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// What ranks send one another of batches that they normalize together (`norm=sync`): as planned and as counted.
@Suite(.serialized, .ranks(atMost: 4)) struct StatisticsPlanTests {
  private static let models = ["mlp:20,3,norm=sync", "cnn:3,40,norm=sync", "resnet:8,norm=sync", "mlp:9,norm=batch", "mlp:9"]
  private let image = SampleShape(height: 8, width: 8, channels: 1)
  private let floats = AggregationRecipe(Identity())

  private func network(_ model: String) throws -> any Network { try Networks.models.make(model)(64, 10, image: image) }

  private func predictor(_ channelCounts: [Int], link: LinkCosts, ranksPerHost: Int = 1) -> StepPredictor {
    StepPredictor(
      TensorLayout([("weights", [9, 20])]), minibatch: 1 << 10,
      costs: PlanCosts(compute: CostCurve(perUnit: 1e-5), network: link, memory: link, ranksPerHost: ranksPerHost),
      sharedChannelCounts: channelCounts)
  }

  /// The bytes and messages of a gradient, also on ranks without samples, are those that a plan for these ranks says.
  @Test(arguments: models, [Transport.auto, .messages]) func bytesOfAGradientArePlanned(
    _ model: String, _ transport: Transport
  ) throws {
    let network = try network(model)
    let hosts = try HostMap(world, transport: transport)
    let counts = network.sharedChannelCounts
    #expect(counts.isEmpty != model.contains("sync"))
    guard let gather = try StatisticsGather(for: network, among: hosts) else {
      #expect(counts.isEmpty)
      return
    }
    let (parameters, gradient) = (FloatBuffer(count: network.layout.count), FloatBuffer(count: network.layout.count))
    network.initialize(parameters, seed: 1)
    network.statistics?.exchange = gather
    for count in world.rank == 0 && world.count > 1 ? [0, 3] : [2, 3] {
      let batch = Minibatch(capacity: 3, featureCount: 64)
      let factor = world.rank + 1
      for index in 0..<batch.inputs.count { batch.inputs[index] = Float(index % 7 * factor) }
      batch.count = count
      let before = gather.traffic
      _ = try network.gradient(of: batch, parameters: parameters, scale: 1, into: gradient) { _ in }
      let sent = gather.traffic - before
      let others = world.count - 1
      let planned = StatisticsGather.traffic(
        of: counts, neighbours: transport == .auto ? others : 0, remoteRanks: transport == .auto ? 0 : others)
      #expect(sent == planned)
      let prediction = try #require(
        try predictor(
          counts, link: LinkCosts(latency: 0, bitsPerSecond: 1e9), ranksPerHost: transport == .auto ? world.count : 1
        ).predict(floats, ranks: world.count))
      #expect(prediction.statisticsBytesSent == sent.bytesSent)
      #expect(prediction.statisticsMessages == (transport == .auto ? 0 : sent.messagesSent))
    }
  }

  /// A run sends what is planned in each step, and at its end a record to compare what ranks hold of them.
  @Test func bytesOfARunArePlanned() throws {
    func run(_ norm: String) throws -> (agreement: Traffic, counts: [Int]) {
      let trainer = try TrainingRun(
        options { ($0.model, $0.steps, $0.codec, $0.verifyEvery) = ("mlp:20,3,norm=\(norm)", 5, "none", 0) }, on: world,
        isSilent: true)
      _ = try trainer.run()
      return (trainer.strategy.report.agreementTraffic, trainer.network.sharedChannelCounts)
    }
    let (shared, own) = (try run("sync"), try run("batch"))
    #expect(own.counts == [] && shared.counts == [20, 3])
    let step = StatisticsGather.traffic(of: shared.counts, neighbours: world.count - 1, remoteRanks: 0)
    let comparison = RecordExchange.traffic(wordCount: 1, neighbours: world.count - 1, remoteRanks: 0)
    #expect(shared.agreement - own.agreement == step * 5 + comparison)
    try world.barrier()
  }

  /// Each record takes what an agreement takes, and its bytes on the link that the ranks of a host share.
  @Test(.oneProcess) func timesAddUp() throws {
    var link = LinkCosts(latency: 1e-3, messageSeconds: 1e-4, bitsPerSecond: 1e8)
    let counts = [20, 3]
    // 8 · (1 + 41) and 8 · (1 + 40) bytes in whole lines of 64, and as much less for 3 channels.
    let byteCount = 384 + 384 + 64 + 64
    for isMeasured in [false, true] {
      if isMeasured { link.meeting = .init(seconds: 5e-3, peers: 3) }
      let (sharing, alone) = (predictor(counts, link: link), predictor([], link: link))
      for ranks in [2, 3, 8, 64] {
        let (with, without) = (
          try #require(try sharing.predict(floats, ranks: ranks)), try #require(try alone.predict(floats, ranks: ranks))
        )
        let bytes = (ranks - 1) * byteCount
        #expect(with.statisticsBytesSent == bytes && with.statisticsMessages == 4 * (ranks - 1))
        let meeting = isMeasured ? 5e-3 + Double(ranks - 4) * 1e-4 : 1e-3 + Double(ranks - 2) * 1e-4
        #expect(abs(with.statisticsSeconds - (4 * meeting + Double(bytes) * 8 / 1e8)) < 1e-12)
        #expect(abs(with.seconds - without.seconds - with.statisticsSeconds) < 1e-12)
        #expect(with.bytesSent == without.bytesSent && without.statisticsSeconds == 0 && without.statisticsBytesSent == 0)
        #expect(try sharing.predict(floats, ranks: ranks, strategy: .doubleBuffer) == nil)
      }
      #expect(try sharing.predict(floats, ranks: 1) == alone.predict(floats, ranks: 1))
    }
    // Seven ranks on hosts of three: the last has six elsewhere, and a full host sends for three ranks.
    let far = try #require(
      try predictor(counts, link: LinkCosts(latency: 0, bitsPerSecond: 1e8), ranksPerHost: 3).predict(floats, ranks: 7))
    #expect(far.statisticsBytesSent == 6 * byteCount && far.statisticsMessages == 24)
    #expect(abs(far.statisticsSeconds - Double(3 * 4 * byteCount) * 8 / 1e8) < 1e-12)
    let inside = try #require(try predictor(counts, link: link, ranksPerHost: 8).predict(floats, ranks: 7))
    #expect(inside.statisticsBytesSent == 6 * byteCount && inside.statisticsMessages == 0)
  }

  /// A measured plan has them, and no step of two halves, in which they could not be shared.
  @Test(.ranks(only: 2)) func aMeasuredPlanHasThem() throws {
    var request = PlanRequest()
    request.options = options { ($0.model, $0.minibatch) = ("mlp:20,3,norm=sync", 40) }
    (request.isBrief, request.codecs) = (true, ["one-bit"])
    let planner = try Planner(request, on: world)
    if let plan = planner.plan {
      #expect(plan.predictions.allSatisfy { !$0.variant.isDoubleBuffered && ($0.statisticsBytesSent > 0) == ($0.ranks > 1) })
      #expect(plan.predictions.contains { $0.ranks == 2 && $0.statisticsSeconds > 0 })
      #expect(
        plan.text.contains("norm=sync") && plan.text.contains("4 records to each other rank in a step, 896 B"), "\(plan.text)")
    }
    request.options.strategy = "double-buffer"
    #expect { try Planner(request, on: world) } throws: {
      "\($0)".contains("norm=sync does not go with --strategy double-buffer")
    }
    let (codec, _) = try measuredChoice(of: request.options)
    #expect(["none", "one-bit:group=row", "multi-bit:bits=4,group=row,range=4"].contains(codec))
  }

  /// What `--codec auto` chooses in a run.
  private func measuredChoice(of options: TrainerOptions) throws -> (codec: String, reason: String) {
    var options = options
    (options.codec, options.strategy) = ("auto", "all-reduce")
    var choice: (codec: String, reason: String)?
    _ = try TrainingRun(options, on: world, isSilent: true) { parts, dataset in
      let found = try measuredCodec(for: parts, on: dataset)
      choice = found
      return found
    }
    return try #require(choice)
  }
}
