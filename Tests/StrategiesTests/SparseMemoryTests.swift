import Buffers
import Codecs
import Collectives
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// What sparse strategies remember and forget, against plain loops in fp64 on the sum of all ranks' gradients (algorithms §2.3).
@Suite(.serialized, .enabled(if: World.count <= 4, "a few ranks are enough")) struct SparseMemoryTests {
  /// Integers of few digits, so that the sums of a step are exact in fp32; some are large.
  private func integers(_ count: Int, step: Int) -> [Float] {
    let random = Philox(seed: 17, purpose: .tests)
    return (0..<count).map { i in
      let word = random.word(i, tensor: step)
      return Float(Int(word % 64) - 32) * (word >> 8 % 30 == 0 ? 32 : 1)
    }
  }

  /// The changes of each step that an exchange makes where the ranks have some share of every gradient.
  private func changes(
    _ strategy: String, _ gradients: [[Float]], momentum: Double, rates: [Float]
  ) throws -> [[Float]] {
    let (count, rank, rankCount) = (gradients[0].count, world.rank, world.count)
    let exchange = try SparseExchange(strategy, count: count, hosts: HostMap(world), momentum: momentum, seed: 5)
    let (gradient, parameters) = (FloatBuffer(count: count), FloatBuffer(count: count))
    return try zip(gradients, rates).map { values, rate in
      for i in 0..<count {
        // Rank r + 1 takes away what rank r adds.
        let (own, before) = (Float((i * 7 + rank * 13) % 41), Float((i * 7 + (rank - 1) * 13) % 41))
        gradient[i] = (rank == 0 ? values[i] : -before) + (rank < rankCount - 1 ? own : 0)
      }
      parameters.clear()
      try exchange.run(gradient, rate: rate, into: parameters)
      return parameters.values.map { 0 - $0 }
    }
  }

  /// Ranks' values are added in rank order, in fp32 by those who keep no sums and in fp64 by owners who do.
  @Test(
    .ranks(atLeast: 3),
    arguments: [
      ("local-top-k:k=1/1", 4), ("true-top-k:k=1/1", 4), ("fetch-sgd:k=1/1,candidates=1", 4),
      ("fetch-sgd:k=1/1,columns=1/1,recovery=subtract", 5), ("fetch-sgd:k=1/1,columns=1/1,recovery=zero", 5),
    ] as [(String, Float)])
  func sumsAreTakenInRankOrder(_ strategy: String, _ expected: Float) throws {
    let exchange = try SparseExchange(strategy, count: 300, hosts: HostMap(world), momentum: 0)
    let (gradient, parameters) = (FloatBuffer(count: 300), FloatBuffer(count: 300))
    // (2²⁴ + 1) − (2²⁴ − 4): the 1 is lost in fp32, unless the last is added before it.
    let terms: [Float] = [0x1p24, 1, -0x1p24 + 4]
    for place in [0, 150, 299] { gradient[place] = world.rank < 3 ? terms[world.rank] : 0 }
    try exchange.run(gradient, rate: 1, into: parameters)
    for place in [0, 150, 299] { #expect(parameters[place] == -expected) }
    try world.barrier()
  }

  /// Tables as long as the values are the values: every way of recovering is exact, and so is the mask of the momentum.
  @Test(
    arguments: [
      "fetch-sgd:recovery=subtract", "fetch-sgd:recovery=zero", "fetch-sgd:recovery=exact", "sketched-sgd", "true-top-k",
    ],
    [true, false])
  func momentumIsForgottenWhereSomethingWasSent(_ strategy: String, masks: Bool) throws {
    let count = 900
    let keys = "k=45,mask=\(masks),shards=1" + (strategy == "true-top-k" ? "" : ",columns=900")
    // Up to a tenth of the values it is forgotten where nothing is said.
    for (k, isDefault) in [(45, masks), (90, masks), (91, !masks)] where isDefault {
      let gradients = (0..<3).map { integers(count, step: $0) }
      let said = keys.replacing("mask=\(masks),", with: "").replacing("k=45", with: "k=\(k)")
      let found = try changes(
        strategy + (strategy.contains(":") ? "," : ":") + said, gradients, momentum: 0.5, rates: [1, 1, 1])
      #expect(found == PlainSparseMemory.descent(gradients, k: k, momentum: 0.5, rates: [1, 1, 1], masks: masks), "k = \(k)")
    }
    let gradients = (0..<7).map { integers(count, step: $0) }
    // Powers of two, so that nothing is rounded anywhere.
    let rates: [Float] = [1, 0.5, 0.5, 0.25, 1, 0.125, 0.25]
    let expected = PlainSparseMemory.descent(gradients, k: 45, momentum: 0.5, rates: rates, masks: masks)
    let found = try changes(
      strategy + (strategy.contains(":") ? "," : ":") + keys, gradients, momentum: 0.5, rates: rates)
    for step in found.indices { #expect(found[step] == expected[step], "step \(step)") }
    // Masks matter from the second step on.
    let other = PlainSparseMemory.descent(gradients, k: 45, momentum: 0.5, rates: rates, masks: !masks)
    #expect(expected[0] == other[0] && expected[1...] != other[1...])
    try world.barrier()
  }

  /// Sums of a step are exact in fp32; what is remembered of several steps is so in fp64 alone.
  @Test(arguments: ["subtract", "zero"], [(mask: true, window: 0), (mask: false, window: 0), (mask: true, window: 3)])
  func tablesFollowThePlainLoop(_ recovery: String, _ how: (mask: Bool, window: Int)) throws {
    let count = 12_000
    let shards = ShardMap(count: count, shardCount: 3)
    let code = try SketchCode(.block, rows: 3, columns: 1200, shards: shards, seed: 5, specification: "")
    let ends = (0..<3).reduce(into: [0]) { $0.append($0.last! + shards.count(of: $1)) }
    let shares = ends.map { Int((Double($0) * 120 / Double(count)).rounded()) }
    let k = (0..<3).map { shares[$0 + 1] - shares[$0] }
    let gradients = (0..<8).map { integers(count, step: 20 + $0) }
    let rates: [Float] = [1, 0.5, 0.5, 0.25, 1, 0.125, 0.25, 0.5]
    let expected = PlainSparseMemory.fetchSGD(
      gradients, k: k, code: code, zeroes: recovery == "zero", window: how.window, momentum: 0.75, rates: rates, masks: how.mask
    )
    let found = try changes(
      "fetch-sgd:k=120,rows=3,columns=1200,shards=3,recovery=\(recovery),mask=\(how.mask),window=\(how.window)", gradients,
      momentum: 0.75, rates: rates)
    for step in found.indices { #expect(found[step] == expected[step], "step \(step)") }
    try world.barrier()
  }

  @Test(arguments: ["fetch-sgd", "sketched-sgd"], [1, 4]) func twoRoundsFollowThePlainLoop(
    _ strategy: String, _ candidates: Int
  )
    throws
  {
    let count = 12_000
    let shards = ShardMap(count: count, shardCount: 3)
    let code = try SketchCode(.block, rows: 3, columns: 1200, shards: shards, seed: 5, specification: "")
    let ends = (0..<3).reduce(into: [0]) { $0.append($0.last! + shards.count(of: $1)) }
    let shares = ends.map { Int((Double($0) * 120 / Double(count)).rounded()) }
    let k = (0..<3).map { shares[$0 + 1] - shares[$0] }
    let gradients = (0..<5).map { integers(count, step: 40 + $0) }
    let rates: [Float] = [1, 0.5, 0.5, 1, 0.25]
    let expected = PlainSparseMemory.twoRounds(
      gradients, k: k, candidates: candidates, code: code, isHeavyMix: strategy == "sketched-sgd", momentum: 0.5, rates: rates)
    let found = try changes(
      "\(strategy):k=120,rows=3,columns=1200,shards=3,mask=true,candidates=\(candidates)", gradients, momentum: 0.5,
      rates: rates)
    for step in found.indices { #expect(found[step] == expected[step], "step \(step)") }
    try world.barrier()
  }

  /// Without feedback a rank's momentum goes on, and what it did not send is lost.
  @Test(.enabled(if: World.count == 1, "one rank's largest values are all that is sent"), arguments: [true, false])
  func withoutFeedbackTheRestIsLost(masks: Bool) throws {
    let gradients = (0..<5).map { integers(900, step: $0) }
    let rates: [Float] = [1, 0.5, 0.25, 1, 0.5]
    var u = [Float](repeating: 0, count: 900)
    let expected = zip(gradients, rates).map { gradient, rate in
      for i in u.indices { u[i] = 0.5 * u[i] + gradient[i] }
      var change = [Float](repeating: 0, count: 900)
      for i in u.indices.sorted(by: { (abs(u[$0]), $1) > (abs(u[$1]), $0) }).prefix(45) {
        change[i] = rate * u[i]
        if masks { u[i] = 0 }
      }
      return change
    }
    let found = try changes("local-top-k:k=45,feedback=none,mask=\(masks)", gradients, momentum: 0.5, rates: rates)
    for step in found.indices { #expect(found[step] == expected[step], "step \(step)") }
  }

  /// 2²⁴ + 1 − 2²⁴ is 1: an owner adds in fp64, over the ranks and over the steps.
  @Test(arguments: ["subtract", "zero"]) func ownersAddInDoublePrecision(_ recovery: String) throws {
    let count = 4096
    let exchange = try SparseExchange(
      "fetch-sgd:k=1,rows=1,columns=1024,shards=1,recovery=\(recovery)", count: count, hosts: HostMap(world), momentum: 0)
    let (gradient, parameters) = (FloatBuffer(count: count), FloatBuffer(count: count))
    // The value 9 is never sent while the value 5, of the same block, is larger.
    let terms: [Float] = [0x1p24, 1, -0x1p24]
    for step in 0..<3 {
      gradient.clear()
      if world.rank == 0 { gradient[5] = 0x1p27 }
      if world.count >= 3 {
        if step == 0 && world.rank < 3 { gradient[9] = terms[world.rank] }
      } else if world.rank == step % world.count {
        gradient[9] = terms[step]
      }
      try exchange.run(gradient, rate: 1, into: parameters)
      #expect(parameters[5] == -Float(step + 1) * 0x1p27 && parameters[9] == 0)
    }
    gradient.clear()
    try exchange.run(gradient, rate: 1, into: parameters)
    #expect(parameters[9] == -1)
    #expect(parameters[5] == -3 * 0x1p27)
    try world.barrier()
  }
}
