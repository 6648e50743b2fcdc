import Buffers
import Codecs
import Collectives
import Foundation
import MPI
import Strategies
import Testing
import Trainer
import Transport
import _TestSupport
@testable import _TrainingSupport

/// The exchanges of sparse strategies by themselves, on gradients that are known: laws, hand-made cases and edges.
@Suite(.serialized) struct SparseExchangeTests {
  /// Those whose changes follow from the sum alone, in sketches of few columns and with every rule.
  static let bySum = [
    "fetch-sgd:k=1/20,columns=1/8,shards=5,mask=true", "fetch-sgd:k=1/20,columns=1/8,shards=5,recovery=subtract,mask=true",
    "fetch-sgd:k=1/20,columns=1/8,shards=5,recovery=zero,mask=true",
    "fetch-sgd:k=1/20,columns=1/8,shards=5,recovery=subtract,window=3,hashes=mersenne61",
    "sketched-sgd:k=1/20,columns=1/8,shards=5", "true-top-k:k=1/20,shards=5",
  ]

  /// Integers, few of them large.
  private func integers(_ count: Int, step: Int) -> [Float] {
    let random = Philox(seed: 11, purpose: .tests)
    return (0..<count).map { i in
      let word = random.word(i, tensor: step)
      return Float(Int(word % 64) - 32) * (word >> 8 % 50 == 0 ? 64 : 1)
    }
  }

  /// Sums of integers are exact in any order, so that tables of floats are tables of integers here.
  @Test("the number of ranks changes no bit where sums are exact", arguments: bySum)
  func ranksAreOfNoAccount(_ strategy: String) throws {
    let gradients = (0..<6).map { integers(20_011, step: $0) }
    let alone = try SparseExchange.changes(strategy, gradients, momentum: 0.5, on: world.split(color: world.rank)!).parameters
    #expect(alone.contains { $0 != 0 })
    for transport in world.count > 1 ? [Transport.auto, .messages] : [] {
      #expect(
        try SparseExchange.changes(strategy, gradients, momentum: 0.5, transport: transport).parameters == alone, "\(transport)"
      )
    }
    try world.barrier()
  }

  // MARK: Windows and drift

  @Test("a window that is longer than the run forgets nothing", arguments: ["subtract", "zero"])
  func longWindow(_ recovery: String) throws {
    let gradients = (0..<6).map { integers(9000, step: $0) }
    let strategy = "fetch-sgd:k=1/50,columns=1/8,shards=3,recovery=\(recovery)"
    let plain = try SparseExchange.changes(strategy, gradients, momentum: 0.5).parameters
    #expect(try SparseExchange.changes(strategy + ",window=6", gradients, momentum: 0.5).parameters == plain)
    #expect(try SparseExchange.changes(strategy + ",window=2", gradients, momentum: 0.5).parameters != plain)
  }

  @Test("a window of one step has no error memory", arguments: ["subtract", "zero"])
  func shortWindow(_ recovery: String) throws {
    let gradients = (0..<4).map { integers(9000, step: $0) }
    let strategy = "fetch-sgd:k=1/50,columns=1/8,shards=3,recovery=\(recovery),window=1"
    var sum = [Float](repeating: 0, count: 9000)
    for gradient in gradients {
      for (i, change) in try SparseExchange.changes(strategy, [gradient]).parameters.enumerated() { sum[i] += change }
    }
    #expect(try SparseExchange.changes(strategy, gradients).parameters == sum)
  }

  @Test(
    "when gradients end, everything that was left behind arrives, and then nothing", arguments: [bySum[0], bySum[4], bySum[5]])
  func zerosBringTheRest(_ strategy: String) throws {
    let count = 5000
    let first = integers(count, step: 0)
    let zeros = [Float](repeating: 0, count: count)
    // d/k and fifty more.
    let steps = 20 + 50
    let (parameters, exchange) = try SparseExchange.changes(strategy, [first] + Array(repeating: zeros, count: steps))
    #expect(parameters == first.map { 0 - $0 })
    // Several ranks keep what cancels.
    #expect(world.count > 1 || exchange.residualSquares == 0)
  }

  @Test(
    "what sketches remember does not grow by itself", .enabled(if: World.count <= 3, "a few ranks are enough"),
    arguments: ["subtract", "zero"])
  func nothingMovesForEver(_ recovery: String) throws {
    let count = 6000
    let exchange = try SparseExchange(
      "fetch-sgd:k=1/100,columns=1/8,shards=2,recovery=\(recovery)", count: count, hosts: HostMap(world), momentum: 0)
    let (gradient, parameters) = (FloatBuffer(count: count), FloatBuffer(count: count))
    // Magnitudes fall by a power, as those of gradients do.
    let ranks = Float(world.count)
    for i in 0..<count { gradient[i] = (i % 2 == 0 ? 1 : -1) * 1000 / Float((i * 1237 % count) + 1) / ranks }
    var norms: [Double] = []
    for step in 0..<200 {
      try exchange.run(gradient, rate: 1, into: parameters)
      if step == 0 { gradient.clear() }
      norms.append(try world.allReduce(exchange.residualSquares, .sum))
    }
    // It falls to the noise of the estimates, and subtraction moves it up and down there, but never higher.
    #expect(norms[150...].max()! <= 1.01 * norms[50..<100].max()!)
    #expect(norms[50...].max()! < 0.1 * norms[0])
  }

  @Test("a gradient is clipped to the norm that sketches estimate", arguments: ["subtract", "zero"])
  func clipping(_ recovery: String) throws {
    let gradient = integers(20_011, step: 0)
    let norm = gradient.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()
    let strategy = "fetch-sgd:k=1/50,columns=1/8,shards=3,recovery=\(recovery)"
    let plain = try SparseExchange.changes(strategy, [gradient]).parameters
    #expect(try SparseExchange.changes(strategy, [gradient], clip: 2 * norm).parameters == plain)
    let (clipped, exchange) = try SparseExchange.changes(strategy, [gradient], clip: norm / 10)
    // Scaled alike everywhere; and nearly to that norm, which is only estimated.
    let ratios = zip(clipped, plain).filter { $0.1 != 0 }.map { Double($0.0 / $0.1) }
    #expect(ratios.count > 300 && ratios.max()! - ratios.min()! < 1e-5)
    #expect(abs(ratios[0] - 0.1) < 0.01)
    #expect(exchange.traffic.bytesSent <= exchange.predictedTraffic.bytesSent)
  }

  // MARK: Known cases

  /// y = w·x, two workers with two samples each, the sum of squared errors, η = 0.005; worked out by hand.
  @Test(
    "Sketched-SGD by hand",
    arguments: [
      (2, 0.0, [(0.28, 0.34), (0.172, 0.204)]), (2, 0.9, [(0.28, 0.34), (0.172, 0.204)]),
      (1, 0.0, [(0, 0.34), (0.3288, 0.34)]), (1, 0.9, [(0, 0.34), (0.5808, 0.34)]),
    ] as [(Int, Double, [(Double, Double)])])
  func byHand(_ k: Int, _ momentum: Double, _ expected: [(Double, Double)]) throws {
    let samples: [(x: (Float, Float), y: Float)] = [((0, 1), 0), ((2, 3), 1), ((4, 5), 2), ((6, 7), 3)]
    for strategy in ["sketched-sgd", "fetch-sgd"] {
      let exchange = try SparseExchange(
        "\(strategy):k=\(k),mask=true", count: 2, hosts: HostMap(world), momentum: momentum)
      let (gradient, weights) = (FloatBuffer(count: 2), FloatBuffer(count: 2))
      for step in 0..<2 {
        gradient.clear()
        // Two workers, on one rank where there is one; further ranks have no samples.
        for (n, sample) in samples.enumerated() where n / 2 % world.count == world.rank {
          let error = weights[0] * sample.x.0 + weights[1] * sample.x.1 - sample.y
          gradient[0] += 2 * error * sample.x.0
          gradient[1] += 2 * error * sample.x.1
        }
        try exchange.run(gradient, rate: 0.005, into: weights)
        #expect(abs(Double(weights[0]) - expected[step].0) < 1e-6, "\(strategy), step \(step)")
        #expect(abs(Double(weights[1]) - expected[step].1) < 1e-6, "\(strategy), step \(step)")
      }
    }
  }

  /// f = ½Σ h_j·w_j² with h_j = j^−0.7 in a random order.
  @Test(
    "a quadratic whose curvatures fall by a power", .enabled(if: World.count <= 3, "a few ranks are enough"),
    arguments: [("exact", 0.06), ("zero", 0.4)])
  func quadratic(_ recovery: String, _ bound: Double) throws {
    let count = 2000
    let random = Philox(seed: 3, purpose: .tests)
    let order = (0..<count).sorted { random.word($0) < random.word($1) }
    var curvature = [Float](repeating: 0, count: count)
    for (j, place) in order.enumerated() { curvature[place] = powf(Float(j + 1), -0.7) }
    let exchange = try SparseExchange(
      "fetch-sgd:k=40,columns=399,hashes=mersenne61,shards=1,recovery=\(recovery),mask=false", count: count,
      hosts: HostMap(world),
      momentum: 0.9)
    let (gradient, weights) = (FloatBuffer(count: count), FloatBuffer(count: count))
    for i in 0..<count { weights[i] = random.uniform(i, tensor: 1) * 2 - 1 }
    func loss() -> Double { (0..<count).reduce(0) { $0 + Double(curvature[$1] * weights[$1] * weights[$1]) / 2 } }
    let (start, ranks) = (loss(), Float(world.count))
    for _ in 0..<400 {
      for i in 0..<count { gradient[i] = curvature[i] * weights[i] / ranks }
      try exchange.run(gradient, rate: 0.05, into: weights)
    }
    #expect(loss() <= bound * start, "\(loss() / start)")
  }

  // MARK: Bytes

  @Test("bytes are those of the format", arguments: ["subtract", "zero"])
  func bytes(_ recovery: String) throws {
    let (count, shardCount, rows, columns) = (30_000, 5, 3, 3000)
    let gradient = integers(count, step: 0)
    let (parameters, exchange) = try SparseExchange.changes(
      "fetch-sgd:k=1/60,rows=\(rows),columns=\(columns),shards=\(shardCount),recovery=\(recovery)", [gradient],
      transport: .messages)
    let shards = ShardMap(count: count, shardCount: shardCount)
    let code = try SketchCode(.block, rows: rows, columns: columns, shards: shards, seed: 5, specification: "")
    let owned = LinearReduceScatter(code, rank: world.rank, of: world.count).owned
    #expect((0..<shardCount).reduce(0) { $0 + code.messageCount(of: $1) } == rows * columns)
    // Tables of the shards of others to their owners; then to everybody the lists of the own shards, each after two numbers.
    var expected = owned.enumerated().filter { $0.offset != world.rank }
      .reduce(0) { $0 + $1.element.reduce(0) { $0 + 4 * code.messageCount(of: $1) } }
    let lists = owned[world.rank].reduce(0) { sum, shard in
      let indices = (0..<shards.count(of: shard)).filter { parameters[shards.place(of: $0, in: shard)] != 0 }
      let vector = SparseVector(indices: indices.map(UInt32.init), values: indices.map { _ in 1 })
      let sparse = SparseCode(count: shards.count(of: shard))
      let room = ByteBuffer(count: sparse.mostBytes(k: vector.count))
      return sum + 8 + sparse.encode(vector, into: room.baseAddress)
    }
    expected += (world.count - 1) * lists
    // The lengths of the lists, one for each rank, told beforehand in a cache line.
    expected += 64 * (world.count - 1)
    #expect(exchange.traffic.bytesSent == expected)
    #expect(exchange.traffic.bytesSent <= exchange.predictedTraffic.bytesSent)
    try world.barrier()
  }

  // MARK: Edges

  @Test("zeros change nothing, and nothing is remembered of them", arguments: bySum + ["local-top-k:k=1/20"])
  func zeros(_ strategy: String) throws {
    let (parameters, exchange) = try SparseExchange.changes(
      strategy, Array(repeating: [Float](repeating: 0, count: 3000), count: 2))
    // The shares of zeros are not zeros where there are several ranks: they cancel, but for what each takes for large.
    guard world.count == 1 || !strategy.hasPrefix("local") else { return }
    #expect(parameters.allSatisfy { $0 == 0 })
    #expect(world.count > 1 || exchange.residualSquares == 0)
  }

  @Test("shards without values, and ranks without shards", arguments: bySum.map { $0.replacing("shards=5", with: "shards=12") })
  func emptyShards(_ strategy: String) throws {
    // Two blocks of values for twelve shards; and none at all.
    let gradients = (0..<3).map { integers(1500, step: $0) }
    let parameters = try SparseExchange.changes(strategy, gradients).parameters
    #expect(parameters.contains { $0 != 0 })
    #expect(Set(try world.allGather(parameters.map { UInt64($0.bitPattern) }).chunks(of: 1500)).count == 1)
    #expect(try SparseExchange.changes(strategy, gradients).parameters == parameters)
  }

  @Test("sizes that cannot be are refused in one sentence", .enabled(if: World.count == 1, "one rank is enough"))
  func refusals() throws {
    for (strategy, words) in [
      ("fetch-sgd:k=3001", "k = 3001 is more than the 3000 parameters"), ("fetch-sgd:columns=3001", "is larger than the 3000"),
      ("fetch-sgd:rows=4", "rows is an odd number, not 4"), ("sketched-sgd:rows=2", "odd"), ("local-top-k:k=3001", "more than"),
    ] {
      #expect {
        _ = try SparseExchange(strategy, count: 3000, hosts: HostMap(world))
      } throws: {
        "\($0)".contains(words) && !"\($0)".contains("\n")
      }
    }
  }
}

extension Array where Element: Hashable {
  fileprivate func chunks(of length: Int) -> [[Element]] {
    stride(from: 0, to: count, by: length).map { Array(self[$0..<Swift.min($0 + length, count)]) }
  }
}
