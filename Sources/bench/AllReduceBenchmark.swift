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
    Column("speedupPlain", "× none", .decimal(2)), Column("compression", "fewer bytes", .decimal(1)),
    Column("maxError", "max error", .text),
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
  /// Bytes of an fp32 ring over those that the busiest rank sends; nil where it sends none.
  let compression: Double?
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
      .number(plainP50), .number(speedup), .number(speedupPlain), compression.map { .number($0) } ?? .nothing,
      .number(maxError), .integer(wrong),
      wireLimit.map { .number($0) } ?? .nothing, fractionOfWire.map { .number($0) } ?? .nothing,
    ]
  }
}

/// Measures exchanges of random gradients.
struct AllReduceBenchmark {
  let hosts: HostMap
  let options: CodedAllReduce.Options
  let iterations: Int
  /// Bits per second of the link of a host, where it is known.
  let linkRate: Double?

  private var world: Communicator { hosts.world }

  /// Measures one aggregation at one size.
  ///
  /// Collective.
  func measure(_ aggregation: AggregationRecipe, count: Int) throws -> AllReduceRow {
    if let codec = aggregation.codec { return try measure(codec, count: count) }
    return try measureChange(aggregation, count: count)
  }

  private func measure(_ codec: any Codec, count: Int) throws -> AllReduceRow {
    let layout = TensorLayout([("gradient", [count])])
    let gradient = try SharedGradient(count: count, hosts: hosts)
    let exchange = try CodedAllReduce(codec, layout: layout, gradient: gradient, options: options)
    let original = FloatBuffer(count: count)
    fill(original)

    // The first exchange starts from empty residuals, so that its result can be checked against the exact sum.
    gradient.values.copy(from: original)
    try exchange.run(step: 0, into: .inPlace)
    let check = try ExchangeVerification(exchange, gradient: original, output: gradient.values, hosts: hosts).run()
    let sent = exchange.traffic

    let times = try compare(original, gradient) { step in
      gradient.values.copy(from: original)
      return try time { try exchange.run(step: step, into: .inPlace) }
    }
    return try row(codec.specification, count: count, times: times, sent: sent, check: check)
  }

  /// Measures an aggregation that delivers changes in few places, from the gradient to the changed parameters.
  private func measureChange(_ aggregation: AggregationRecipe, count: Int) throws -> AllReduceRow {
    let gradient = try SharedGradient(count: count, hosts: hosts)
    let (original, parameters) = (FloatBuffer(count: count), FloatBuffer(count: count))
    fill(original)
    let contribution = try SharedGradient(count: count, hosts: hosts, isShared: false)
    contribution.values.copy(from: original)
    var parts = AggregationParts(hosts: hosts, layout: TensorLayout([("gradient", [count])]), gradients: [contribution])
    parts.momentum = 0.9
    let exchange = try aggregation(parts)
    let subtract = Sink.change { change, shard, shards in
      for (index, value) in zip(change.indices, change.values) {
        parameters.baseAddress[shards.place(of: Int(index), in: shard)] -= value
      }
    }
    try exchange.run(Contribution(step: 0, rate: 1), into: subtract)
    let check = try verify(exchange, parameters, against: original)
    // The steps after the first have more to recover than one gradient; all have as many bytes, or nearly.
    let before = exchange.traffic
    try exchange.run(Contribution(step: 1, rate: 1), into: subtract)
    let sent = exchange.traffic - before
    let times = try compare(original, gradient) { step in
      try time { try exchange.run(Contribution(step: step + 1, rate: 1), into: subtract) }
    }
    return try row(exchange.specification, count: count, times: times, sent: sent, check: check)
  }

  /// Seconds of `MPI_Allreduce`, of Morse's own floats, and of `run`, interleaved.
  private func compare(
    _ original: FloatBuffer, _ gradient: SharedGradient, run: (_ step: Int) throws -> Double
  ) throws -> [[Double]] {
    let layout = TensorLayout([("gradient", [original.count])])
    let plain = try CodedAllReduce(codecs.make("none"), layout: layout, gradient: gradient, options: options)
    let baseline = FloatBuffer(count: original.count)
    var times: [[Double]] = [[], [], []]
    for iteration in 0..<iterations + 1 {
      // All three from the same values.
      baseline.copy(from: original)
      var round = [try time { try world.allReduce(baseline.values, .sum) }]
      gradient.values.copy(from: original)
      round.append(try time { try plain.run(step: iteration, into: .inPlace) })
      round.append(try run(iteration + 1))
      // The first round warms up.
      if iteration > 0 { for (index, seconds) in round.enumerated() { times[index].append(seconds) } }
    }
    return times
  }

  /// What a first step changed: in a few places minus the sum of the gradients, less what ranks keep.
  private func verify(
    _ exchange: any Aggregation, _ parameters: FloatBuffer, against gradient: FloatBuffer
  ) throws -> ExchangeVerification.Result {
    var (result, squares, changes) = (ExchangeVerification.Result(), 0.0, 0)
    var errors: [Double] = []
    let piece = 1 << 16
    for start in stride(from: 0, to: gradient.count, by: piece) {
      let range = start..<min(start + piece, gradient.count)
      // Multiples of 2⁻¹² of this size add exactly.
      var sums = range.map { Double(gradient[$0]) - Double(exchange.remembered?[$0] ?? 0) }
      try hosts.enter("the checking of a result") { try world.allReduce(&sums, .sum) }
      squares += sums.reduce(0) { $0 + $1 * $1 }
      for (index, sum) in zip(range, sums) where parameters[index] != 0 || exchange.remembered != nil {
        changes += parameters[index] != 0 ? 1 : 0
        let error = abs(Double(-parameters[index]) - sum)
        errors.append(error.isNaN ? .infinity : error)
      }
    }
    result.maxError = errors.max() ?? 0
    result.wrong = errors.count { $0 > exchange.estimationError * squares.squareRoot() } + (changes == 0 ? 1 : 0)
    // Every rank has changed the same.
    let mine = (0..<parameters.count).reduce(UInt64(14_695_981_039_346_656_037)) {
      ($0 ^ UInt64(parameters[$1].bitPattern)) &* 1_099_511_628_211
    }
    if Set(try hosts.enter("the checking of a result") { try world.allGather([mine]) }).count > 1 { result.wrong += 1 }
    return result
  }

  private func row(
    _ specification: String, count: Int, times: [[Double]], sent: Traffic, check: ExchangeVerification.Result
  ) throws -> AllReduceRow {
    var busiest = [Int64(sent.bytesSent), Int64(sent.messagesSent)]
    try hosts.enter("a result") { try world.allReduce(&busiest, .max) }
    let p50 = times[2].percentile()
    let logical = count * 4
    let share = 2 * Double(world.count - 1) / Double(world.count)
    var row = AllReduceRow(
      codec: specification, ranks: world.count, hosts: hosts.hostCount, count: count, p50: p50,
      p99: times[2].percentile(0.99), logicalBytes: logical, wireBytesSent: Int(busiest[0]), messages: Int(busiest[1]),
      bytesLeavingHost: try hosts.bytesLeavingHost(sentByThisRank: sent.networkBytesSent),
      algorithmBandwidth: Double(logical) / p50 / 1e9, busBandwidth: Double(logical) / p50 / 1e9 * share,
      allReduceP50: times[0].percentile(), plainP50: times[1].percentile(),
      speedup: zip(times[0], times[2]).map { $0 / $1 }.percentile(),
      speedupPlain: zip(times[1], times[2]).map { $0 / $1 }.percentile(),
      compression: busiest[0] > 0 ? Double(logical) * share / Double(busiest[0]) : nil, maxError: check.maxError,
      wrong: check.wrong)
    if let linkRate, row.bytesLeavingHost > 0 {
      row.wireLimit = Double(row.bytesLeavingHost) * 8 / linkRate
      row.fractionOfWire = row.wireLimit! / p50
    }
    return row
  }

  /// The seconds of the slowest rank.
  private func time(_ body: () throws -> Void) throws -> Double {
    try hosts.meet("a measurement")
    try world.barrier()
    let start = ContinuousClock.now
    try body()
    var seconds = [(ContinuousClock.now - start) / .seconds(1)]
    try hosts.enter("a result") { try world.allReduce(&seconds, .max) }
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
