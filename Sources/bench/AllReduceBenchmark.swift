internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI

/// One row of `bench all-reduce`: an exchange against `MPI_Allreduce` and against Morse's own fp32 exchange, in one run.
struct AllReduceRow {
  static let columns = [
    Column("codec", "codec"), Column("ranks", "ranks", .integer), Column("hosts", "hosts", .integer),
    Column("count", "values", .integer), Column("p50", "p50 (ms)", .decimal(2, scale: 1e3)),
    Column("p99", "p99 (ms)", .decimal(2, scale: 1e3)), Column("logicalBytes", "bytes", .integer),
    Column("wireBytesSent", "sent", .integer), Column("messages", "messages", .integer),
    Column("bytesLeavingHost", "leaving a host", .integer),
    Column("algorithmBandwidth", "algbw (GB/s)", .decimal(2)), Column("busBandwidth", "busbw (GB/s)", .decimal(2)),
    Column("allReduceP50", "MPI p50 (ms)", .decimal(2, scale: 1e3)),
    Column("plainP50", "none p50 (ms)", .decimal(2, scale: 1e3)), Column("speedup", "× MPI", .decimal(2)),
    Column("speedupPlain", "× none", .decimal(2)), Column("maxError", "max error", .text),
    Column("wrong", "wrong", .integer), Column("wireLimit", "limit (ms)", .decimal(2, scale: 1e3)),
    Column("fractionOfWire", "of limit", .decimal(2)),
  ]

  let codec: String
  let ranks: Int
  let hosts: Int
  let count: Int
  /// Seconds of the slowest rank: median and 99th percentile.
  let p50: Double
  let p99: Double
  /// Bytes of the gradient, fp32.
  let logicalBytes: Int
  /// Bytes that the busiest rank sends in one exchange, and its messages.
  let wireBytesSent: Int
  let messages: Int
  /// Bytes that leave the busiest host in one exchange.
  let bytesLeavingHost: Int
  /// GB/s: logical bytes over time, and that times 2 (K − 1)/K.
  let algorithmBandwidth: Double
  let busBandwidth: Double
  /// Seconds of `MPI_Allreduce` as launched, and of the codec `none`.
  let allReduceP50: Double
  let plainP50: Double
  /// Medians of the ratios of neighbouring runs.
  let speedup: Double
  let speedupPlain: Double
  /// The largest |output + residuals − exact sum|, and the number of values where it is above the bound.
  let maxError: Double
  let wrong: Int
  /// Seconds that a link needs for the bytes that leave a host, and its share of the time; with `--link-rate`.
  var wireLimit: Double?
  var fractionOfWire: Double?

  var cells: [Cell] {
    [
      .text(codec), .integer(ranks), .integer(hosts), .integer(count), .number(p50), .number(p99), .integer(logicalBytes),
      .integer(wireBytesSent), .integer(messages),
      .integer(bytesLeavingHost), .number(algorithmBandwidth), .number(busBandwidth), .number(allReduceP50),
      .number(plainP50), .number(speedup), .number(speedupPlain), .number(maxError), .integer(wrong),
      wireLimit.map { .number($0) } ?? .nothing, fractionOfWire.map { .number($0) } ?? .nothing,
    ]
  }
}

/// Measures exchanges of random gradients.
struct AllReduceBenchmark {
  let hosts: HostMap
  let options: GradientExchange.Options
  let iterations: Int
  /// Bits per second of the link of a host, where it is known.
  let linkRate: Double?

  private var world: Communicator { hosts.world }

  /// Measures one codec at one size.
  ///
  /// Collective.
  func measure(_ codec: any Codec, count: Int) throws -> AllReduceRow {
    let layout = TensorLayout([("gradient", [count])])
    let gradient = try SharedGradient(count: count, hosts: hosts)
    let exchange = try GradientExchange(codec, layout: layout, gradient: gradient, options: options)
    let plain = try GradientExchange(codecs.make("none"), layout: layout, gradient: gradient, options: options)
    let original = FloatBuffer(count: count)
    let baseline = FloatBuffer(count: count)
    fill(original)

    // The first exchange starts from empty residuals, so that its result can be checked against the exact sum.
    gradient.values.copy(from: original)
    try exchange.run(step: 0, into: .inPlace)
    let check = try ExchangeVerification(exchange, gradient: original, output: gradient.values, world: world).run()
    let sent = exchange.traffic

    var times: [[Double]] = [[], [], []]
    for iteration in 0..<iterations + 1 {
      // All three in place, from the same values.
      baseline.copy(from: original)
      var round = [try time { try world.allReduce(baseline.values, .sum) }]
      gradient.values.copy(from: original)
      round.append(try time { try plain.run(step: iteration, into: .inPlace) })
      gradient.values.copy(from: original)
      round.append(try time { try exchange.run(step: iteration + 1, into: .inPlace) })
      // The first round warms up.
      if iteration > 0 { for (index, seconds) in round.enumerated() { times[index].append(seconds) } }
    }
    return try row(codec, count: count, times: times, sent: sent, check: check)
  }

  private func row(
    _ codec: any Codec, count: Int, times: [[Double]], sent: Traffic, check: ExchangeVerification.Result
  ) throws -> AllReduceRow {
    var busiest = [Int64(sent.bytesSent), Int64(sent.messagesSent)]
    try world.allReduce(&busiest, .max)
    let p50 = times[2].percentile()
    let logical = count * 4
    let share = 2 * Double(world.count - 1) / Double(world.count)
    var row = AllReduceRow(
      codec: codec.specification, ranks: world.count, hosts: hosts.hostCount, count: count, p50: p50,
      p99: times[2].percentile(0.99), logicalBytes: logical, wireBytesSent: Int(busiest[0]), messages: Int(busiest[1]),
      bytesLeavingHost: try hosts.bytesLeavingHost(sentByThisRank: sent.networkBytesSent),
      algorithmBandwidth: Double(logical) / p50 / 1e9, busBandwidth: Double(logical) / p50 / 1e9 * share,
      allReduceP50: times[0].percentile(), plainP50: times[1].percentile(),
      speedup: zip(times[0], times[2]).map { $0 / $1 }.percentile(),
      speedupPlain: zip(times[1], times[2]).map { $0 / $1 }.percentile(), maxError: check.maxError, wrong: check.wrong)
    if let linkRate, row.bytesLeavingHost > 0 {
      row.wireLimit = Double(row.bytesLeavingHost) * 8 / linkRate
      row.fractionOfWire = row.wireLimit! / p50
    }
    return row
  }

  /// The seconds of the slowest rank.
  private func time(_ body: () throws -> Void) throws -> Double {
    try world.barrier()
    let start = ContinuousClock.now
    try body()
    var seconds = [(ContinuousClock.now - start) / .seconds(1)]
    try world.allReduce(&seconds, .max)
    return seconds[0]
  }

  /// Gradients of a bell-like shape, different on every rank.
  private func fill(_ values: FloatBuffer) {
    let random = Philox(seed: 1, purpose: .tests, stream: world.rank)
    for quad in 0..<(values.count + 3) / 4 {
      let words = random.words(quad: quad)
      for lane in 0..<min(4, values.count - 4 * quad) {
        // The sum of four bytes, centred: near enough to normal, and exact in fp32.
        let word = words[lane]
        let sum = Int32(word & 0xFF) + Int32(word >> 8 & 0xFF) + Int32(word >> 16 & 0xFF) + Int32(word >> 24)
        values.baseAddress[4 * quad + lane] = Float(sum - 510) * 0x1p-12
      }
    }
  }
}
