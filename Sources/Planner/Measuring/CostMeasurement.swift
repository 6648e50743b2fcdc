internal import Buffers
internal import Codecs
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Strategies
internal import Transport

/// Measures the costs of work and messages on the ranks of a job.
struct CostMeasurement {
  /// What is trained, and on which ranks.
  let parts: StrategyParts
  let dataset: any Dataset
  /// What is compared.
  let aggregations: [AggregationRecipe]
  /// Whether the times of gradients are measured one by one, on all ranks.
  var measuresSpread = false
  /// Called with what is being measured, on rank 0.
  var progress: (String) -> Void = { _ in }

  /// How much time to spend.
  struct Effort {
    var compute: Repetitions.Effort
    var kernels: Repetitions.Effort
    var exchange: ExchangeProbe.Effort
    /// Whether every pair of hosts is measured separately.
    var hasPairs: Bool

    /// For a plan: some seconds in total.
    static let thorough = Effort(
      compute: .init(seconds: 0.5), kernels: .init(seconds: 0.1),
      exchange: .init(repetitions: .init(seconds: 0.5), longestSeconds: 1),
      hasPairs: true)
    /// At the start of a run: a second, or a little more on slow networks.
    static let brief = Effort(
      compute: .init(seconds: 0.1), kernels: .init(seconds: 0.02),
      exchange: .init(repetitions: .init(seconds: 0.1), longestSeconds: 0.25), hasPairs: false)
  }

  /// The results.
  struct Result {
    var costs: PlanCosts
    /// Each measured pair of hosts, on rank 0.
    var pairs: [PairCosts] = []
    /// Whether every pair of hosts was measured.
    var arePairsComplete = true
    /// The largest exchange that was measured, as a share of the model's values; 0 if none was.
    var largestShare = 0.0
    /// Seconds of a step on these ranks, by codec specification, if they were measured.
    var steps: [String: Double] = [:]
    /// The times of gradients of a rank's share of a step, if they were measured.
    var spread: StepSpread?
  }

  /// Measures all costs.
  ///
  /// Collective.
  func measure(_ effort: Effort) throws -> Result {
    let hosts = parts.hosts
    let world = hosts.world
    let layout = parts.network.layout
    let repetitions = Repetitions(records: parts.records)
    var result = Result(costs: PlanCosts(compute: CostCurve(perUnit: 0), ranksPerHost: ranksPerHost))

    progress("gradients")
    let compute = ComputeProbe(repetitions: repetitions, parts: parts, dataset: dataset)
    let gradient = FloatBuffer(count: layout.count)
    let curve = try compute.gradientCurve(effort.compute, into: gradient)
    // At most half of what is measured with it, however disturbed; what is subtracted here is added to every step.
    let meeting = min(try repetitions.seconds(effort.kernels) { try repetitions.meet() }, 0.5 * curve.points[0].seconds)
    result.costs.compute = CostCurve(curve.points.map { .init($0.amount, $0.seconds - meeting) })
    progress("the update of the model")
    result.costs.updateSeconds = try compute.updateSeconds(effort.kernels)
    result.costs.postSeconds = try compute.postSeconds(effort.kernels)

    let kernels = KernelProbe(repetitions: repetitions, layout: layout, gradient: gradient)
    let sparse = SparseProbe(repetitions: repetitions, parts: parts, gradient: gradient)
    for aggregation in aggregations {
      progress("the kernels of \(aggregation.specification)")
      if let codec = aggregation.carrier {
        result.costs.kernels[codec.specification] = try kernels.measure(codec, effort.kernels)
      } else {
        result.costs.sparse[aggregation.specification] = try sparse.measure(aggregation, effort.kernels)
      }
    }

    progress("what codes carry of gradients")
    // As many samples as in a step, unless computing their gradients takes too long.
    let most = Double(max(1, min((parts.plan.minibatch - 1) / world.count + 1, parts.plan.sampleCount / world.count)))
    let few = max(1, Int(most * min(1, effort.compute.seconds / max(curve.seconds(for: most), 1e-9))))
    result.costs.lostSignal = try SignalProbe(repetitions: repetitions, layout: layout).measure(
      aggregations.compactMap(\.codec).filter { !$0.isIdentity }, of: gradient,
      next: compute.workAlone(samples: few, into: gradient))

    if measuresSpread {
      progress("how much gradients differ in time")
      let own = max(1, min((parts.plan.minibatch - 1) / world.count + 1, parts.plan.sampleCount / world.count))
      let alone = compute.workAlone(samples: own, into: gradient)
      result.spread = try SpreadProbe(repetitions: repetitions, parts: parts, gradient: alone).measure(effort.compute)
    }
    guard world.count > 1 else { return result }
    // As many samples as in a step, unless computing them takes much longer than measuring an exchange should.
    let share = Double((parts.plan.minibatch - 1) / world.count + 1)
    let affordable = share * min(1, 0.1 * effort.exchange.repetitions.seconds / max(curve.seconds(for: share), 1e-9))
    let work = compute.work(samples: max(1, min(Int(affordable), parts.plan.sampleCount / world.count)), into: gradient)
    if hosts.remoteRanks.isEmpty {
      progress("the exchange in the memory of the host")
      var link = try link(repetitions, hosts, effort, meeting: meeting, work: work, &result)
      result.costs.memory = link
      link.remainders = try remainders(compute, effort, &result)
      result.costs.memory = link
    } else {
      if effort.hasPairs && hosts.hostCount > 1 {
        let pairs = try PairProbe(hosts)
        result.pairs = try pairs.measure(progress: progress)
        result.arePairsComplete = pairs.isComplete
        result.costs.memory = try memory(effort)
      }
      var link = try link(repetitions, hosts, effort, meeting: meeting, work: work, &result)
      result.costs.network = link
      link.remainders = try remainders(compute, effort, &result)
      result.costs.network = link
    }
    return result
  }

  /// Measures whole steps, and returns their time beyond the sum of their parts, by codec.
  ///
  /// Collective; rank 0's result counts. Steps that would take too long are not measured; their parts outweigh the rest.
  private func remainders(
    _ compute: ComputeProbe, _ effort: Effort, _ result: inout Result
  ) throws -> [String: Double] {
    let (hosts, repetitions) = (parts.hosts, compute.repetitions)
    let samples = (parts.plan.minibatch - 1) / hosts.world.count + 1
    guard samples <= parts.plan.sampleCount / hosts.world.count else { return [:] }
    let predictor = StepPredictor(parts.network, minibatch: parts.plan.minibatch, costs: result.costs)
    let routes = hosts.routes(parts.options.topology)
    let topology = routes.parties.count < routes.rankCount ? PlanTopology.hierarchical : .flat
    var remainders: [String: Double] = [:]
    for aggregation in aggregations {
      let specification = aggregation.specification
      let topology = aggregation.capabilities.isHierarchical ? topology : .flat
      let prediction = try predictor.predict(aggregation, ranks: routes.rankCount, topology: topology)
      // Ranks on different hosts may have measured different memory costs: rank 0's sum counts.
      let sum = try repetitions.meet(saying: prediction?.seconds ?? .infinity)[0]
      guard sum <= effort.exchange.longestSeconds else { continue }
      progress("steps with \(specification)")
      let seconds = try compute.stepSeconds(aggregation, samples: samples, effort.exchange.repetitions)
      result.steps[specification] = seconds
      // A disturbed measurement must not make exchanges between other ranks cost nothing.
      remainders[specification] = max(seconds - sum, -0.5 * (prediction?.exchangeSeconds ?? 0))
    }
    return remainders
  }

  /// The cost of the exchange between the ranks of `hosts`.
  private func link(
    _ repetitions: Repetitions, _ hosts: HostMap, _ effort: Effort, meeting: Double, work: @escaping () throws -> Void,
    _ result: inout Result
  ) throws -> LinkCosts {
    let probe = ExchangeProbe(
      repetitions: repetitions, hosts: hosts, layout: parts.network.layout, ranksPerHost: ranksPerHost, work: work)
    let measured = try probe.measure(effort.exchange, smallestShare: try repetitions.largest(smallestShare), progress: progress)
    result.largestShare = measured.largestShare
    // Two stages, of one message to each other rank. The time of a pair that has the network to itself is the latency; the rest
    // is the cost of the messages.
    let stage = measured.emptySeconds / 2
    let isOneHost = hosts.remoteRanks.isEmpty
    let slowest = try repetitions.largest(result.pairs.map(\.latency).max() ?? 0)
    let latency = isOneHost || slowest == 0 ? stage : min(slowest, stage)
    let peers = isOneHost ? hosts.world.count - 1 : hosts.world.count - ranksPerHost
    return LinkCosts(
      latency: latency, messageSeconds: peers > 1 ? (stage - latency) / Double(peers - 1) : 0,
      transfer: CostCurve(measured.points), includesFloatKernels: true,
      meeting: .init(seconds: meeting, peers: peers))
  }

  /// The cost of the exchange between the ranks of a host, all hosts at once; nil if rank 0 is alone on its host.
  private func memory(_ effort: Effort) throws -> LinkCosts? {
    let rank = parts.hosts.world.rank
    let hosts = try parts.hosts.split(color: parts.hosts.leaders[rank], key: rank)
    guard hosts.world.count > 1 else { return nil }
    progress("the exchange in the memory of a host")
    return try hosts.releasingMemory {
      let repetitions = Repetitions(records: try RecordExchange(hosts))
      var result = Result(costs: PlanCosts(compute: CostCurve(perUnit: 0)))
      let meeting = try repetitions.seconds(effort.kernels) { try repetitions.meet() }
      return try link(repetitions, hosts, effort, meeting: meeting, work: { try repetitions.meet() }, &result)
    }
  }

  /// The most ranks that share the memory and the link of a host; 1 if all are reached by messages.
  private var ranksPerHost: Int {
    guard parts.options.transport == .auto else { return 1 }
    return Dictionary(grouping: parts.hosts.hostNames) { $0 }.values.map(\.count).max() ?? 1
  }

  /// The size of the smallest code of the codecs, as a share of the size of floats.
  private var smallestShare: Double {
    let layout = parts.network.layout
    let floats = Double(4 * max(layout.count, 1))
    let shares = aggregations.compactMap(\.carrier).map { codec in
      Double(codec.grouping.groups(of: layout).reduce(0) { $0 + codec.encodedByteCount(of: $1.count) }) / floats
    }
    return min(1, max(shares.min() ?? 1, 1 / floats))
  }
}
