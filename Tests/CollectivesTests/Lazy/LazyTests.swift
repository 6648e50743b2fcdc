import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Lazily aggregated gradients against plain lines (algorithms §10.8).
@Suite(.serialized) struct LazyTests {
  /// Smoother losses the lower the rank.
  private static func quadratics(_ count: Int, growth: Float = 2) -> Quadratics {
    var smoothness: [Float] = [1]
    while smoothness.count < allRanks.count { smoothness.append(growth * smoothness[smoothness.count - 1]) }
    return Quadratics(workers: allRanks.count, count: count, smoothness: smoothness)
  }

  /// 1/L of the sum.
  private static func rate(_ losses: Quadratics) -> Float {
    1 / (0..<losses.count).reduce(Float(1e-9)) { most, j in max(most, losses.curvatures.reduce(0) { $0 + $1[j] }) }
  }

  private static let rules: [(String, LazyReference.Rule)] = [
    ("lazy:start=1", .worker), ("lazy:rule=server,start=1", .server(nil)), ("lazy:bits=4,start=1", .grid(bits: 4)),
    ("lazy:bits=1,start=2,max-silence=3", .grid(bits: 1)), ("lazy:xi=0.3,depth=3,max-silence=2", .worker),
  ]

  private static func reference(_ specification: String, _ rule: LazyReference.Rule, _ losses: Quadratics) -> LazyReference {
    var reference = LazyReference(rule, workers: allRanks.count, model: Array(repeating: 0.5, count: losses.count))
    if specification.contains("start=1") { reference.start = 1 }
    if specification.contains("start=2") { reference.start = 2 }
    if specification.contains("depth=3") { (reference.depth, reference.weight, reference.start) = (3, 0.3, 3) }
    if specification.contains("max-silence=3") { reference.longestSilence = 3 }
    if specification.contains("max-silence=2") { reference.longestSilence = 2 }
    return reference
  }

  @Test(arguments: rules) func thePlainLoop(_ specification: String, _ rule: LazyReference.Rule) throws {
    // Fewer values than ranks, or none; one off a word of codes.
    for count in [0, 1, 3, 33, 70] {
      let losses = Self.quadratics(count)
      var reference = Self.reference(specification, rule, losses)
      let rank = try LazyRank(specification, model: reference.model)
      for _ in 0..<40 {
        reference.run(rate: Self.rate(losses), losses.gradient)
        try rank.run(rate: Self.rate(losses), losses.gradient)
        #expect(firstDifference(rank.lastSum, reference.lastSum) == nil)
      }
      #expect(firstDifference(rank.model.array, reference.model) == nil)
      let uploads = try #require(rank.aggregation.uploads)
      #expect(uploads.exchangeCount == 40)
      if count > 0 { #expect(uploads.byRank == reference.uploads) }
      if count == 70 && allRanks.count > 1 { #expect(uploads.byRank.reduce(0, +) < 30 * allRanks.count, "\(uploads)") }
    }
  }

  /// What has not changed at all is not uploaded, and what has changed at all is: the sum has the bits of an all-reduce of floats.
  @Test func withoutWeightItIsAnAllReduce() throws {
    for count in [0, 1, 3, 65, 200] {
      for transport in transports {
        let lazy = try LazyRank("lazy:xi=0,start=1", model: Array(repeating: 0, count: count), transport)
        let plain = try LazyRank("none", model: Array(repeating: 0, count: count), transport)
        for step in 0..<6 {
          let gradient = { (worker: Int, _: [Float]) in
            // Every second rank repeats itself in every second step.
            drawGradient(count: count, seed: 8, step: worker % 2 == 0 ? step : step / 2, rank: worker)
          }
          try lazy.run(rate: 0.5, gradient)
          try plain.run(rate: 0.5, gradient)
          #expect(firstDifference(lazy.lastSum, plain.lastSum) == nil)
        }
        if count > 3 && allRanks.count > 1 {
          #expect(lazy.aggregation.uploads?.byRank == (0..<allRanks.count).map { $0 % 2 == 0 ? 6 : 3 })
        }
      }
    }
  }

  /// α = 0.1, two workers, D = 2, ξ = 0.1, squared steps of 0.04 and 0.01: R = 0.125.
  @Test(.oneProcess) func theExampleOfTheThreshold() {
    let model = FloatBuffer(count: 1)
    let history = DescentHistory(model, count: 1, depth: 2)
    for value in [7, 0, 0.2, 0.3] as [Float] {
      model[0] = value
      history.begin(rate: 0.1)
    }
    #expect(abs(history.threshold(weight: 0.1, rankCount: 2) - 0.125) < 1e-6)
    // Each step counts at its own rate: 0.01 at 0.1, and 0.04 at 0.2.
    history.begin(rate: 0.2)
    model[0] = 0.5
    history.begin(rate: 0.1)
    #expect(abs(history.threshold(weight: 0.1, rankCount: 2) - 0.1 * (1 + 0) / 4) < 1e-6)
  }

  /// Losses of curvature m need fewer uploads the smoother they are, and no more steps.
  @Test(.ranks(atLeast: 3), arguments: ["lazy:start=1", "lazy:rule=server,start=1"]) func smoothLossesUploadRarely(
    _ specification: String
  ) throws {
    let losses = Self.quadratics(40, growth: 1.5)
    let (rate, least) = (Self.rate(losses), losses.leastLoss)
    func steps(_ specification: String) throws -> (steps: Int, uploads: [Int]) {
      let rank = try LazyRank(specification, model: Array(repeating: 3, count: 40))
      let first = losses.loss(at: rank.model.array) - least
      while losses.loss(at: rank.model.array) - least > 1e-5 * first && rank.step < 400 {
        try rank.run(rate: rate, losses.gradient)
      }
      return (rank.step, rank.aggregation.uploads?.byRank ?? [])
    }
    let (plain, lazy) = (try steps("none"), try steps(specification))
    #expect(lazy.steps < 400 && Double(lazy.steps) <= 1.2 * Double(plain.steps), "\(lazy) after \(plain)")
    #expect(lazy.uploads.reduce(0, +) * 2 < plain.steps * allRanks.count, "\(lazy) after \(plain)")
    #expect(lazy.uploads[0] < lazy.uploads[allRanks.count - 1], "\(lazy)")
  }

  /// All that is sent is counted: as much as the format says if all upload, and as much as the ledger says if some do.
  @Test(arguments: ["lazy:xi=0,start=1", "lazy:start=1", "lazy:bits=4,start=1", "lazy:bits=3,start=100"])
  func countedBytesAreThoseOfTheLedger(_ specification: String) throws {
    let (count, ranks) = (70, allRanks.count)
    let losses = Self.quadratics(count)
    for transport in transports {
      let rank = try LazyRank(specification, model: Array(repeating: 1, count: count), transport)
      let shards = Partition(count: count, into: ranks).ranges.map(\.count)
      let bits = specification.contains("bits=4") ? 4 : specification.contains("bits=3") ? 3 : nil
      let message = shards.map { shard in bits.map { shard == 0 ? 0 : 4 + (shard * $0 + 31) / 32 * 4 } ?? 4 * shard }
      var (expected, before) = (0, Array(repeating: 0, count: ranks))
      for step in 1...15 {
        try rank.run(rate: Self.rate(losses), losses.gradient)
        let uploads = try #require(rank.aggregation.uploads).byRank
        let senders = (0..<ranks).map { uploads[$0] > before[$0] }
        before = uploads
        guard ranks > 1 else { continue }
        // A record of a word that ends with its number, to each other rank.
        expected += (ranks - 1) * 64
        if senders[allRanks.rank] { expected += message.reduce(0, +) - message[allRanks.rank] }
        if senders.contains(true) { expected += (ranks - 1) * 4 * shards[allRanks.rank] }
        #expect(rank.aggregation.traffic.bytesSent == expected, "step \(step)")
      }
      let all = rank.aggregation.predictedTraffic * 15
      let isAll = before.allSatisfy { $0 == 15 }
      #expect(isAll ? rank.aggregation.traffic == all : rank.aggregation.traffic.bytesSent < all.bytesSent)
      #expect(isAll || ranks > 1 && !specification.contains("100") && !specification.contains("xi=0"))
    }
  }

  /// A stream whose state is moved to another goes on there with the same bits.
  @Test(arguments: ["lazy:start=1", "lazy:rule=server,start=1", "lazy:bits=2,start=1,max-silence=4"])
  func stateIsAllThatCounts(_ specification: String) throws {
    let losses = Self.quadratics(33)
    let whole = try LazyRank(specification, model: Array(repeating: 1, count: 33))
    for _ in 0..<21 { try whole.run(rate: Self.rate(losses), losses.gradient) }
    let first = try LazyRank(specification, model: Array(repeating: 1, count: 33))
    for _ in 0..<10 { try first.run(rate: Self.rate(losses), losses.gradient) }
    var saved = StateInventory()
    first.aggregation.contribute(to: &saved)
    let second = try LazyRank(specification, model: first.model.array)
    var state = StateInventory()
    second.aggregation.contribute(to: &state)
    state.copyTensors(from: saved)
    second.aggregation.restore(counters: saved.counters)
    for _ in 10..<21 { try second.run(rate: Self.rate(losses), losses.gradient) }
    #expect(firstDifference(second.model.array, whole.model.array) == nil)
    #expect(second.aggregation.uploads == whole.aggregation.uploads)
    // What is forgotten is uploaded anew.
    let before = try #require(second.aggregation.uploads)
    second.aggregation.forget()
    try second.run(rate: Self.rate(losses), losses.gradient)
    #expect(second.aggregation.uploads?.byRank == before.byRank.map { $0 + 1 })
    let plain = (0..<33).map { j in
      (1..<allRanks.count).reduce(losses.gradient(of: 0, at: whole.model.array)[j]) {
        $0 + losses.gradient(of: $1, at: whole.model.array)[j]
      }
    }
    if !specification.contains("bits") || allRanks.count == 1 { #expect(firstDifference(second.lastSum, plain) == nil) }
  }

  /// A sum goes piece by piece to an update, and nothing else changes.
  @Test func updatesGetEveryValueOnce() throws {
    let losses = Self.quadratics(70)
    let hosts = try HostMap(allRanks)
    let gradient = try SharedGradient(count: 70, hosts: hosts)
    let parts = AggregationParts(hosts: hosts, layout: TensorLayout([("model", [70])]), gradients: [gradient])
    // Without a model it follows plain descent, as that of the rank beside it does.
    let aggregation = try aggregations.make("lazy:start=1")(parts)
    let rank = try LazyRank("lazy:start=1", model: Array(repeating: 0, count: 70))
    for step in 0..<12 {
      gradient.values.set(losses.gradient(of: allRanks.rank, at: rank.model.array))
      var times = Array(repeating: 0, count: 70)
      var sum = Array(repeating: Float(0), count: 70)
      try aggregation.run(
        Contribution(step: step, rate: Self.rate(losses)),
        into: .update { range, values in
          for i in range { (times[i], sum[i]) = (times[i] + 1, values[i - range.lowerBound]) }
        })
      try rank.run(rate: Self.rate(losses), losses.gradient)
      #expect(times.allSatisfy { $0 == 1 } && firstDifference(sum, rank.lastSum) == nil)
    }
    #expect(aggregation.uploads == rank.aggregation.uploads)
  }

  @Test(.oneProcess) func whatCannotBeIsSaid() {
    for (specification, sentence) in [
      ("lazy:rule=server,bits=4", "bits goes with rule=worker alone"),
      ("lazy:smoothness=4", "smoothness goes with rule=server alone"),
      ("lazy:rule=server,smoothness=1+-2", "not '1+-2'"), ("lazy:rule=both", "unknown rule 'both'"),
      ("lazy:bits=17", "of 1 to 16"),
    ] {
      #expect { try aggregations.make(specification) } throws: { "\($0)".contains(sentence) }
    }
  }
}
