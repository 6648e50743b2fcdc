public import Buffers
internal import Codecs
public import Collectives
internal import Networks
public import Strategies
internal import Transport

/// How ranks form the parties of an exchange.
public enum PlanTopology: String, CaseIterable, Hashable, Sendable {
  /// Every rank encodes on its own.
  case flat
  /// The ranks of a host sum their gradients first, and one code for all of them leaves the host.
  case hierarchical
}

/// How a step is done: with which codec, by which parties, and when they exchange.
public struct StepVariant: Hashable, Sendable {
  /// The codec's specification.
  public var codec: String
  /// The parties of the exchange.
  public var topology: PlanTopology
  /// When it exchanges.
  public var strategy: PlannedStrategy

  /// A variant.
  public init(codec: String, topology: PlanTopology = .flat, strategy: PlannedStrategy = .allReduce) {
    self.codec = codec
    self.topology = topology
    self.strategy = strategy
  }

  /// When it exchanges, and what computing hides of it.
  public var schedule: ExchangeSchedule { strategy.schedule }
  /// Whether part of a minibatch is computed while another part is exchanged.
  public var isDoubleBuffered: Bool { strategy.isDoubleBuffered }
}

/// The time of a step, and its parts.
public struct StepPrediction: Hashable, Sendable {
  /// How the step is done.
  public var variant: StepVariant
  /// The number of ranks, and of the hosts they are on.
  public var ranks: Int
  public var hosts: Int
  /// Seconds of a step.
  public var seconds: Double
  /// Seconds of a rank's gradient over all its samples of the step.
  public var computeSeconds: Double
  /// Seconds of an exchange with its update, hidden or not; a step in parts has one for each.
  public var exchangeSeconds: Double
  /// Bytes that the busiest rank sends in an exchange, including headers.
  public var bytesSent: Int
  /// Messages that it sends to other hosts in an exchange.
  public var messages: Int
  /// Seconds of a step that a rank takes alone, if it exchanges only after several; 0 otherwise.
  public var aloneSeconds = 0.0
  /// Seconds in which ranks wait for the statistics of batches that they share, in all layers of a step; 0 if they share none.
  public var statisticsSeconds = 0.0
  /// Bytes of these that the busiest rank sends in a step, including headers.
  public var statisticsBytesSent = 0
  /// Messages of these to other hosts in a step.
  public var statisticsMessages = 0
  /// The share of the signal that a code does not carry at a time; nil if it was not measured.
  public var lostSignal: Double?
}

extension StepPrediction {
  /// 1/(1 − λ): the steps until the signal of one has arrived, where a code carries 1 − λ of it and of what is left at a time.
  ///
  /// It is 1 if λ was not measured, and infinite for a code of which nothing arrives.
  public var stepsOfSignal: Double {
    guard let lostSignal else { return 1 }
    return lostSignal < 1 ? 1 / (1 - lostSignal) : .infinity
  }

  /// The share of the time that computing is to have in ``stepsForComputing``.
  public static let computingGoal = 0.95

  /// The fewest steps between exchanges at which ranks compute 95 % of the time; nil if they exchange each step.
  public var stepsForComputing: Int? {
    guard aloneSeconds > 0 else { return nil }
    let exchange = (seconds - aloneSeconds) * Double(variant.schedule.stepsPerExchange)
    let goal = StepPrediction.computingGoal
    return max(1, Int((goal / (1 - goal) * exchange / aloneSeconds).rounded(.up)))
  }
}

/// Predicts how long a step of synchronous SGD takes on any number of ranks.
///
/// A step is a gradient, an agreement of all ranks (one small message to each), and an exchange, which is modelled by
/// `WorkLoopModel` with the exact bytes of `ExchangeGeometry`. Several ranks of a host share its link. If ranks normalize by the samples
/// of all, they also wait for one another twice in each normalized layer.
///
/// Source: the time model of latency, bytes and kernels, algorithms §15.3, over the exchange of Seide et al. 2014; hierarchical
/// exchange as in algorithms §11.1; double buffering as in the paper, T = 2 max(T_calc, T_comm).
public struct StepPredictor: Sendable {
  /// The tensors of the model.
  public let layout: TensorLayout
  /// Samples of a step over all ranks.
  public let minibatch: Int
  /// The costs of work and messages.
  public let costs: PlanCosts
  /// The channels of each layer whose statistics ranks share; a step is then not double-buffered.
  public let sharedChannelCounts: [Int]

  /// A predictor for a model and its costs.
  public init(_ layout: TensorLayout, minibatch: Int, costs: PlanCosts, sharedChannelCounts: [Int] = []) {
    self.layout = layout
    self.minibatch = minibatch
    self.costs = costs
    self.sharedChannelCounts = sharedChannelCounts
  }

  /// A predictor for a network and its costs.
  init(_ network: any Network, minibatch: Int, costs: PlanCosts) {
    self.init(network.layout, minibatch: minibatch, costs: costs, sharedChannelCounts: network.sharedChannelCounts)
  }

  /// The step on `ranks` ranks; nil if a rank would have no sample, or the costs of its link are unknown, or ranks share statistics in
  /// half a step.
  ///
  /// - Complexity: linear in the groups of the layout and in the messages of a rank.
  /// - Throws: `SpecificationError` and `SketchError` if the aggregation is not possible for this number of parameters.
  public func predict(
    _ aggregation: AggregationRecipe, ranks: Int, topology: PlanTopology = .flat, strategy: PlannedStrategy = .allReduce
  ) throws -> StepPrediction? {
    let schedule = strategy.schedule
    guard ranks >= 1, ranks <= minibatch, sharedChannelCounts.isEmpty || !schedule.hidesWholeExchanges else { return nil }
    let hosts = (ranks - 1) / costs.ranksPerHost + 1
    let topology = hosts == 1 ? PlanTopology.flat : topology
    var prediction = StepPrediction(
      variant: StepVariant(codec: aggregation.specification, topology: topology, strategy: strategy),
      ranks: ranks,
      hosts: hosts, seconds: 0, computeSeconds: costs.compute.seconds(for: samplesPerRank(ranks, parts: 1)),
      exchangeSeconds: costs.updateSeconds + costs.postSeconds, bytesSent: 0, messages: 0)
    prediction.lostSignal = costs.lostSignal[aggregation.specification]
    let work = costs.sparse[aggregation.specification]
    // What rate, momentum and memory do is part of the work.
    if let work { prediction.exchangeSeconds = work.encode + work.sum + work.decode }
    guard aggregation.carrier != nil || work != nil else { return nil }
    var agreement = 0.0
    var hidden = work == nil ? 0 : prediction.exchangeSeconds
    if ranks > 1 {
      guard let link = hosts > 1 ? costs.network : costs.memory else { return nil }
      let statistics = StatisticsPrediction(
        sharedChannelCounts, ranks: ranks, ranksPerHost: costs.ranksPerHost, link: link)
      prediction.statisticsSeconds = statistics.seconds
      (prediction.statisticsBytesSent, prediction.statisticsMessages) = (statistics.bytesSent, statistics.messages)
      let remainder = link.remainders[aggregation.specification] ?? 0
      if let codec = aggregation.carrier {
        let exchange = ExchangePrediction(
          codec, layout: layout, ranks: ranks, ranksPerHost: costs.ranksPerHost, topology: topology, link: link, costs: costs)
        prediction.exchangeSeconds = max(0, exchange.seconds(withUpdate: true) + remainder)
        hidden = max(0, exchange.seconds(withUpdate: false) + remainder)
        (prediction.bytesSent, prediction.messages) = (exchange.bytesSent, exchange.messages)
        agreement = link.meetingSeconds(peers: hosts > 1 ? exchange.remotePeers : ranks - 1)
      } else if let work {
        let exchange = SparsePrediction(
          try aggregation.rounds(layout, rankCount: ranks),
          alone: try aggregation.rounds(layout, rankCount: 1), ranks: ranks, ranksPerHost: costs.ranksPerHost,
          link: link, work: work, sumPerValue: costs.kernels[Identity().specification]?.sumPerCode ?? 0)
        prediction.exchangeSeconds = max(0, exchange.seconds + remainder)
        hidden = prediction.exchangeSeconds
        (prediction.bytesSent, prediction.messages) = (exchange.bytesSent, exchange.messages)
        agreement = link.meetingSeconds(peers: hosts > 1 ? ranks - costs.ranksPerHost : ranks - 1)
      }
    }
    let part = costs.compute.seconds(for: samplesPerRank(ranks, parts: schedule.exchangesInStep))
    if schedule.hidesWholeExchanges {
      let update = work == nil ? costs.postSeconds / Double(ranks) + costs.updateSeconds : 0
      // Ranks agree on a part while the exchange of the previous part goes on.
      prediction.seconds = Double(schedule.exchangesInStep) * max(part + update + agreement, hidden)
    } else if schedule.stepsPerExchange > 1 {
      // Each rank updates its own model in every step; an exchange, with its update, is shared by those of a round.
      prediction.aloneSeconds = part + costs.updateSeconds
      // Of each fragment, what the steps of a delay do not hide.
      let most = Double(schedule.fragments * schedule.delay) * prediction.aloneSeconds
      let exposed = prediction.exchangeSeconds - min(hidden, most)
      prediction.seconds =
        prediction.aloneSeconds
        + (Double(schedule.fragments) * agreement + exposed) / Double(schedule.stepsPerExchange)
    } else {
      // What a backward pass hides is not predicted.
      prediction.seconds =
        Double(schedule.exchangesInStep)
        * (part + prediction.statisticsSeconds + agreement + prediction.exchangeSeconds)
    }
    return prediction
  }

  /// How many times faster a step is than on one rank, which exchanges nothing.
  public func speedUp(_ prediction: StepPrediction) -> Double { oneRankSeconds / prediction.seconds }

  /// Seconds of a step on one rank.
  public var oneRankSeconds: Double {
    costs.compute.seconds(for: Double(minibatch)) + costs.postSeconds + costs.updateSeconds
  }

  /// How many times fewer bytes than floats the aggregation sends of a gradient of this layout; of messages that vary, as if all were
  /// as long as they can be, on 64 ranks.
  public func ratio(of aggregation: AggregationRecipe) throws -> Double {
    guard let codec = aggregation.carrier else {
      let ranks = 64
      let rounds = try aggregation.rounds(layout, rankCount: ranks)
      let bytes = (0..<ranks).reduce(0) { sum, rank in
        rounds.reduce(sum) { $0 + $1.mostSent(by: rank, of: ranks) { _ in false }.bytesSent }
      }
      return bytes == 0 ? 1 : Double(8 * layout.count * (ranks - 1)) / Double(bytes)
    }
    let codeByteCount = codec.grouping.groups(of: layout).reduce(0) { $0 + codec.encodedByteCount(of: $1.count) }
    return codeByteCount == 0 ? 1 : Double(4 * layout.count) / Double(codeByteCount)
  }

  /// The paper's model with these costs; nil if no network costs are known.
  ///
  /// T_float is the limit for many ranks: each sends every value twice. The fixed part of computing belongs to T_upd, because
  /// more ranks do not reduce it.
  public var scalingModel: ScalingModel? {
    guard let link = costs.network else { return nil }
    let bytes = 8 * layout.count * costs.ranksPerHost
    return ScalingModel(
      minibatch: minibatch, frameSeconds: costs.compute.secondsPerUnit, postSeconds: costs.postSeconds,
      updateSeconds: costs.updateSeconds + costs.compute.fixedSeconds,
      floatExchangeSeconds: link.transfer.seconds(for: Double(bytes)))
  }

  /// The number of samples of the rank with the most.
  private func samplesPerRank(_ ranks: Int, parts: Int) -> Double { Double((minibatch - 1) / (ranks * parts) + 1) }
}
