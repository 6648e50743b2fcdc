internal import Buffers
internal import Codecs
internal import Files
internal import Networks
internal import Strategies
internal import Transport

/// The costs that were measured or given, as text and as JSON.
struct CostReport {
  private let result: CostMeasurement.Result
  private let assumed: [String]
  private let network: any Network
  private let ranks: Int
  private let hosts: Int

  init(_ result: CostMeasurement.Result, assumed: [String], network: any Network, ranks: Int, hosts: Int) {
    (self.result, self.assumed, self.network, self.ranks, self.hosts) = (result, assumed, network, ranks, hosts)
  }

  /// The costs by name, for display.
  var lines: [(name: String, text: String)] {
    let costs = result.costs
    var lines = [("measured on", "\(counted(ranks, "rank")) on \(counted(hosts, "host"))")]
    let compute = costs.compute
    let fixed = compute.fixedSeconds > 0 ? ", and \(Quantity.text(ofSeconds: compute.fixedSeconds)) for each gradient" : ""
    lines.append(("T_frm", "\(Quantity.text(ofSeconds: compute.secondsPerUnit)) a sample\(fixed)"))
    if let spread = result.spread { lines.append(("a gradient here", spread.text)) }
    if costs.postSeconds > 0 { lines.append(("C · T_post", Quantity.text(ofSeconds: costs.postSeconds))) }
    lines.append(("T_upd", Quantity.text(ofSeconds: costs.updateSeconds)))
    for (codec, kernels) in costs.kernels.sorted(by: { $0.key < $1.key }) where codec != Identity().specification {
      lines.append(
        (
          codec,
          "encodes \(CostReport.rate(kernels.encode)), decodes \(CostReport.rate(kernels.decode)), adds codes "
            + "\(CostReport.rate(kernels.sumPerCode)) values a second"
            + (costs.lostSignal[codec].map { "; leaves \(Quantity.significant(100 * $0)) % of the signal for later" } ?? "")
        ))
    }
    for (specification, work) in costs.sparse.sorted(by: { $0.key < $1.key }) {
      lines.append(
        (
          specification,
          "on one rank encodes in \(CostReport.time(work.encode)), finds values in \(CostReport.time(work.sum)), changes the model in "
            + CostReport.time(work.decode)
        ))
    }
    if let memory = costs.memory {
      lines.append(
        (
          "inside a host",
          "a stage takes \(CostReport.time(memory.latency)); \(memory.rateText(from: "each rank"))"
        ))
    }
    lines += pairLines
    if let network = costs.network {
      let messages =
        network.messageSeconds > 0 ? ", each further message \(Quantity.text(ofSeconds: network.messageSeconds))" : ""
      lines.append(
        (
          "between hosts",
          "a message takes \(CostReport.time(network.latency))\(messages); \(network.rateText(from: "each host"))"
        ))
    }
    if let statistics {
      lines.append(
        (
          "norm=sync",
          "\(counted(statistics.records, "record")) to each other rank in a step, \(withPrefix(Double(statistics.bytes)))B, one after "
            + "another"
        ))
    }
    for (codec, seconds) in result.steps.sorted(by: { $0.key < $1.key }) {
      lines.append(("a step here", "\(Quantity.text(ofSeconds: seconds)) with \(codec)"))
    }
    lines += assumed.map { ("assumed", $0) }
    return lines
  }

  /// The records of shared statistics that a rank sends to each other in a step, and their bytes; nil if there are none.
  private var statistics: (records: Int, bytes: Int)? {
    let counts = network.sharedChannelCounts
    guard !counts.isEmpty else { return nil }
    return (2 * counts.count, StatisticsGather.traffic(of: counts, neighbours: 0, remoteRanks: 1).bytesSent)
  }

  /// The results between pairs of hosts.
  private var pairLines: [(name: String, text: String)] {
    let pairs = result.pairs
    guard let slowest = pairs.max(by: { $0.latency < $1.latency }),
      let narrowest = pairs.min(by: { $0.bandwidth < $1.bandwidth }),
      let latency = median(of: pairs.map(\.latency)), let bandwidth = median(of: pairs.map(\.bandwidth))
    else { return [] }
    let kind = result.arePairsComplete ? counted(pairs.count, "pair") : "\(pairs.count) pairs of neighbours"
    var text =
      "\(kind), \(pairs.count > 1 ? "median " : "")\(Quantity.text(ofSeconds: latency)) and "
      + Quantity.text(ofBitsPerSecond: bandwidth)
    if pairs.count > 1 {
      text +=
        "; slowest \(slowest.first)–\(slowest.second) \(Quantity.text(ofSeconds: slowest.latency)), "
        + "narrowest \(narrowest.first)–\(narrowest.second) \(Quantity.text(ofBitsPerSecond: narrowest.bandwidth))"
    }
    return [("links alone", text)]
  }

  private static func time(_ seconds: Double) -> String {
    seconds > 0 ? Quantity.text(ofSeconds: seconds) : "too little to measure"
  }

  private static func rate(_ secondsPerValue: Double) -> String {
    secondsPerValue > 0 ? withPrefix(1 / secondsPerValue) : "∞ "
  }

  /// All costs as JSON.
  var json: JSONValue {
    let costs = result.costs
    func json(_ link: LinkCosts?) -> JSONValue {
      guard let link else { return .null }
      return [
        "latency": .number(link.latency), "messageSeconds": .number(link.messageSeconds),
        "secondsPerByte": .number(link.transfer.secondsPerUnit), "transfer": json(link.transfer),
      ]
    }
    func json(_ curve: CostCurve) -> JSONValue {
      .array(curve.points.map { .array([.number($0.amount), .number($0.seconds)]) })
    }
    return [
      "ranks": .integer(ranks), "hosts": .integer(hosts), "ranksPerHost": .integer(costs.ranksPerHost),
      "frameSeconds": .number(costs.compute.secondsPerUnit), "gradientSeconds": .number(costs.compute.fixedSeconds),
      "compute": json(costs.compute), "postSeconds": .number(costs.postSeconds), "updateSeconds": .number(costs.updateSeconds),
      "kernels": .object(
        costs.kernels.sorted { $0.key < $1.key }.map { codec, kernels in
          .init(
            codec,
            [
              "encode": .number(kernels.encode), "decode": .number(kernels.decode), "sum": .number(kernels.sum),
              "sumPerCode": .number(kernels.sumPerCode),
            ])
        }),
      "sparse": .object(
        costs.sparse.sorted { $0.key < $1.key }.map { specification, work in
          .init(
            specification,
            ["encode": .number(work.encode), "sum": .number(work.sum), "decode": .number(work.decode)])
        }),
      "lostSignal": .object(costs.lostSignal.sorted { $0.key < $1.key }.map { .init($0.key, .number($0.value)) }),
      "memory": json(costs.memory), "network": json(costs.network),
      "spread": .array(
        (result.spread.map { spread in
          spread.seconds.indices.map { ["mean": .number(spread.mean(of: $0)), "deviation": .number(spread.deviation(of: $0))] }
        }) ?? []),
      "steps": .object(result.steps.sorted { $0.key < $1.key }.map { .init($0.key, .number($0.value)) }),
      "pairs": .array(
        result.pairs.map { pair in
          [
            "first": .string(pair.first), "second": .string(pair.second), "latency": .number(pair.latency),
            "bitsPerSecond": .number(pair.bandwidth),
          ]
        }),
    ]
  }
}

extension LinkCosts {
  /// The rate at which each `sender` sends when all send; a link that is too fast to be measured has none.
  package func rateText(from sender: String) -> String {
    let perByte = transfer.secondsPerUnit
    guard perByte > 0 else { return "sending takes too little time to measure a rate" }
    return "\(Quantity.text(ofBitsPerSecond: 8 / perByte)) from \(sender) when all send"
  }
}
