internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
import Transport

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
  /// The largest |output + residuals − exact sum|, and the number of values above the bound.
  let maxError: Double
  let wrong: Int
  /// One cell for each of ``columns``.
  let cells: [Cell]
}

/// Measures exchanges of random gradients.
struct AllReduceBenchmark {
  let hosts: HostMap
  let options: CodedAllReduce.Options
  let iterations: Int
  /// Bits per second of a host's link, if known.
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
    var check = ExchangeVerification.Result()
    if codec.dividesBySenders || !codec.keepsRemainder {
      // What it delivers is no sum, or one on average.
      check.wrong = try isSameOnAllRanks(gradient.values) ? 0 : 1
    } else {
      check = try ExchangeVerification(exchange, gradient: original, output: gradient.values, hosts: hosts).run()
    }
    let sent = exchange.traffic

    let times = try compare(original, gradient) { step in
      gradient.values.copy(from: original)
      return try time { try exchange.run(step: step, into: .inPlace) }
    }
    return try row(codec.specification, count: count, times: times, sent: sent, check: check)
  }

  /// Measures an aggregation that is no coded all-reduce, from the gradient to the changed parameters.
  private func measureChange(_ aggregation: AggregationRecipe, count: Int) throws -> AllReduceRow {
    let gradient = try SharedGradient(count: count, hosts: hosts)
    let (original, parameters) = (FloatBuffer(count: count), FloatBuffer(count: count))
    fill(original)
    let contribution = try SharedGradient(count: count, hosts: hosts, isShared: false)
    contribution.values.copy(from: original)
    var parts = AggregationParts(hosts: hosts, layout: TensorLayout([("gradient", [count])]), gradients: [contribution])
    parts.momentum = 0.9
    let exchange = try aggregation(parts)
    let subtract =
      exchange.result == .gradient
      ? Sink.update { range, values in
        for index in range { parameters.baseAddress[index] -= values[index - range.lowerBound] }
      }
      : Sink.change { change, shard, shards in
        for (index, value) in zip(change.indices, change.values) {
          parameters.baseAddress[shards.place(of: Int(index), in: shard)] -= value
        }
      }
    try exchange.run(Contribution(step: 0, rate: 1), into: subtract)
    let check = try verify(exchange, parameters, against: original)
    // The steps after the first recover more than one gradient; all have the same number of bytes, or nearly.
    let before = exchange.traffic
    try exchange.run(Contribution(step: 1, rate: 1), into: subtract)
    let sent = exchange.traffic - before
    let times = try compare(original, gradient) { step in
      try time { try exchange.run(Contribution(step: step + 1, rate: 1), into: subtract) }
    }
    return try row(exchange.specification, count: count, times: times, sent: sent, check: check)
  }

  /// Seconds of `MPI_Allreduce`, of Morse's own fp32 exchange, and of `run`, interleaved.
  private func compare(
    _ original: FloatBuffer, _ gradient: SharedGradient, run: (_ step: Int) throws -> Double
  ) throws -> [[Double]] {
    let layout = TensorLayout([("gradient", [original.count])])
    let plain = try CodedAllReduce(codecs.make("none"), layout: layout, gradient: gradient, options: options)
    let baseline = FloatBuffer(count: original.count)
    var times: [[Double]] = [[], [], []]
    for iteration in 0..<iterations + 1 {
      // All three start from the same values.
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

  /// Checks what a first step changed: in a few places, minus the sum of the gradients, less what ranks keep.
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
    // Every rank has made the same changes.
    if try !isSameOnAllRanks(parameters) { result.wrong += 1 }
    return result
  }

  /// Whether all ranks have the same bits; collective.
  private func isSameOnAllRanks(_ values: FloatBuffer) throws -> Bool {
    let mine = (0..<values.count).reduce(UInt64(14_695_981_039_346_656_037)) {
      ($0 ^ UInt64(values[$1].bitPattern)) &* 1_099_511_628_211
    }
    return Set(try hosts.enter("the checking of a result") { try world.allGather([mine]) }).count == 1
  }

  private func row(
    _ specification: String, count: Int, times: [[Double]], sent: Traffic, check: ExchangeVerification.Result
  ) throws -> AllReduceRow {
    var busiest = [Int64(sent.bytesSent), Int64(sent.messagesSent)]
    try hosts.enter("a result") { try world.allReduce(&busiest, .max) }
    let (p50, logical) = (times[2].percentile(), count * 4)
    let share = 2 * Double(world.count - 1) / Double(world.count)
    let bandwidth = Double(logical) / p50 / 1e9
    func ratio(to other: Int) -> Cell { .number(zip(times[other], times[2]).map { $0 / $1 }.percentile()) }
    // Bytes of an fp32 ring over those that the busiest rank sends.
    let compression = Cell.number(Double(logical) * share / Double(busiest[0]))
    let leaving = try hosts.bytesLeavingHost(sentByThisRank: sent.networkBytesSent)
    // Seconds that a link needs for the bytes that leave the busiest host.
    let limit = leaving > 0 ? linkRate.map { Double(leaving) * 8 / $0 } : nil
    return AllReduceRow(
      codec: specification, maxError: check.maxError, wrong: check.wrong,
      cells: [
        .text(specification), .integer(world.count), .integer(hosts.hostCount), .integer(count), .number(p50),
        .number(times[2].percentile(0.99)), .integer(logical), .integer(Int(busiest[0])), .integer(Int(busiest[1])),
        .integer(leaving), .number(bandwidth), .number(bandwidth * share), .number(times[0].percentile()),
        .number(times[1].percentile()), ratio(to: 0), ratio(to: 1), busiest[0] > 0 ? compression : .nothing,
        .number(check.maxError), .integer(check.wrong), limit.map { .number($0) } ?? .nothing,
        limit.map { .number($0 / p50) } ?? .nothing,
      ])
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

  /// Bell-shaped gradients, different on every rank.
  private func fill(_ values: FloatBuffer) {
    let random = Philox(seed: 1, purpose: .tests, stream: world.rank)
    for quad in 0..<(values.count + 3) / 4 {
      let words = random.words(quad: quad)
      for lane in 0..<min(4, values.count - 4 * quad) {
        // The sum of four bytes, centred: close to normal, and exact in fp32.
        let word = words[lane]
        let sum = Int32(word & 0xFF) + Int32(word >> 8 & 0xFF) + Int32(word >> 16 & 0xFF) + Int32(word >> 24)
        values.baseAddress[4 * quad + lane] = Float(sum - 510) * 0x1p-12
      }
    }
  }
}
