import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// What holds for every aggregation of the registry: neither who drives it, nor how its messages travel, nor where the result goes
/// changes a bit.
@Suite(.serialized) struct AggregationTests {
  static let all = aggregations.entries.map { entry in
    switch entry.name {
    case "fetch-sgd": "fetch-sgd:k=1/10,columns=1/4,recovery=subtract"
    case "sketched-sgd": "sketched-sgd:k=1/10,columns=1/4,candidates=2"
    case "top-k", "true-top-k": "\(entry.name):k=1/10"
    case "dgc": "dgc:k=1/10,ramp=2"
    default: entry.name
    }
  }
  static let more = [
    "fetch-sgd:k=1/10,columns=1/4", "fetch-sgd:k=1/10,columns=1/4,recovery=zero,window=2", "multi-bit:bits=2",
    "rotated:bits=4,group=64", "low-rank:rank=1,refresh=1", "low-rank:rank=5", "svd:rank=1,side=16", "spectral:rank=3",
    PCATests.short, "lazy:start=1,xi=5000",
    "leader-top-k:k=1/3,feedback=0.5", "top-k:k=1/10,ramp=3,clip=9",
    "lazy:bits=3,start=1,xi=5000", "lazy:rule=server,start=1,xi=5000", "majority-vote:tie=zero", "majority-vote:abstain=true",
    "majority-vote:result=mean", "one-bit:ef21=0.1", "chunk-top-k:k=1/4,chunk=64,ef21=1", "ef-sign:ef21=0.5",
    "uniform:bits=4,group=16,scales=shared", "ef-sign:scales=shared,sums=exact", "terngrad:scales=shared,sums=exact",
    "qsgd:bucket=64,scales=shared",
  ]

  /// Fewer values than ranks, one off a word, and a model of several shards.
  static let layouts =
    [[0], [1], [3], [65], [40, 30, 7]].map { sizes in
      TensorLayout(sizes.enumerated().map { ("tensor.\($0)", [$1]) })
    } + [TensorLayout([("weights", [64, 50]), ("biases", [64])])]

  @Test(
    .oneProcess,
    arguments: [
      ("top-k", "top-k:k=1/100,feedback=rank"), ("top-k:feedback=none,k=7", "top-k:k=7,feedback=none"),
      ("dgc", "dgc:k=1/1000,mask=true,ramp=200"), ("top-k:ramp=9", "top-k:k=1/100,feedback=rank,ramp=9"),
      ("true-top-k:mask=true", "true-top-k:k=1/100,mask=true"),
      ("sketched-sgd:rows=3", "sketched-sgd:rows=3,columns=1/50,hashes=block,k=1/100,candidates=4"),
      ("fetch-sgd", "fetch-sgd:rows=5,columns=1/50,hashes=block,k=1/100,recovery=exact,candidates=4"),
      ("fetch-sgd:recovery=zero", "fetch-sgd:rows=5,columns=1/50,hashes=block,k=1/100,recovery=zero,window=0"),
      ("lazy", "lazy:rule=worker,depth=10,xi=0.1,start=10,max-silence=100"),
      (
        "lazy:rule=server,depth=5,smoothness=1+4",
        "lazy:rule=server,depth=5,xi=2.0,start=5,max-silence=100,smoothness=1+4"
      ),
    ]) func fullSpecificationsSayWhatWasNotGiven(_ text: String, _ full: String) throws
  {
    #expect(try aggregations.make(text).specification == full)
  }

  /// What a recipe says of itself makes the same recipe again.
  @Test(.oneProcess, arguments: all + more) func fullSpecificationsAreThoseOfThemselves(_ text: String) throws {
    let full = try aggregations.make(text).specification
    #expect(try aggregations.make(full).specification == full)
  }

  /// A rank's gradient: multiples of 2⁻⁸, a few of them large.
  private func gradient(_ count: Int, step: Int, rank: Int) -> [Float] {
    var random = SplitMix(91, step, rank)
    return (0..<count).map { _ in
      let word = random.next()
      return Float(Int(word % 2001) - 1000) / 256 * (word >> 40 % 20 == 0 ? 16 : 1)
    }
  }

  /// The results of three exchanges of one stream, each rank's gradients drawn by its number.
  private func results(
    _ specification: String, _ layout: TensorLayout, _ transport: Transport = .auto, _ overlap: Overlap = .off,
    toBuffer: Bool = true, clip: Double? = nil
  ) throws -> [[UInt32]] {
    let recipe = try aggregations.make(specification)
    let hosts = try HostMap(allRanks, transport: transport)
    let gradients = try (0..<2).map { _ in
      try SharedGradient(count: layout.count, hosts: hosts, isShared: recipe.capabilities.sharesContributions)
    }
    var parts = AggregationParts(hosts: hosts, layout: layout, gradients: gradients)
    (parts.momentum, parts.clip) = (0.5, clip)
    parts.options.decodesAhead = overlap == .thread
    let exchange = try recipe(parts)
    let driver = ExchangeDriver(overlap)
    var random = SplitMix(7, allRanks.rank)
    return try (0..<3).map { step in
      gradients[step % 2].values.set(gradient(layout.count, step: step, rank: allRanks.rank))
      try exchange.begin(Contribution(step: step, samples: 9, buffer: step % 2, rate: 0.25))
      driver.drive(exchange)
      for _ in 0..<4 {
        if overlap != .off { sleepAtRandom(&random, upTo: 200) }
        driver.turn()
      }
      let output = FloatBuffer(count: layout.count)
      if toBuffer {
        output.fill(.nan)
        try driver.deliver(exchange, into: .buffer(output))
      } else if exchange.result == .change {
        let change = { (change: SparseVector, shard: Int, shards: ShardMap) in
          for (index, value) in zip(change.indices, change.values) { output[shards.place(of: Int(index), in: shard)] = value }
        }
        try driver.deliver(exchange, into: .change(change))
      } else {
        try driver.deliver(
          exchange, into: .update { range, values in for i in range { output[i] = values[i - range.lowerBound] } })
      }
      #expect(exchange.exchangeCount == step + 1)
      #expect(exchange.predictsAtMost || exchange.traffic == exchange.predictedTraffic * (step + 1))
      let predicted = exchange.rampTraffic?.total ?? exchange.predictedTraffic * (step + 1)
      #expect(exchange.traffic.bytesSent <= predicted.bytesSent)
      return output.array.map(\.bitPattern)
    }
  }

  /// Each transport with each driver, one after another over the layouts; what goes to an update as what goes to a buffer.
  @Test(arguments: all + more) func neitherDriverNorTransportNorSinkChangesABit(_ specification: String) throws {
    let drivers = [Overlap.inline, .thread]
    for (index, layout) in Self.layouts.enumerated() {
      // A sketch has a column at least, and is no longer than what it sketches.
      guard layout.count > 0 || !specification.contains("columns") else { continue }
      let expected = try results(specification, layout)
      // All ranks have the same.
      #expect(try isSameOnAllRanks(expected.joined().map(Float.init(bitPattern:))))
      for (place, transport) in transports.enumerated() {
        let (overlap, toBuffer) = (drivers[(index + place) % 2], (index / 2 + place) % 2 == 0)
        #expect(
          try results(specification, layout, transport, overlap, toBuffer: toBuffer) == expected,
          "\(layout.count), \(transport), \(overlap), to a buffer: \(toBuffer)")
      }
    }
  }

  @Test(arguments: ["subtract", "zero"]) func sketchesAreClippedByWhomeverTheyAreDriven(_ recovery: String) throws {
    let specification = "fetch-sgd:k=1/10,columns=1/4,recovery=\(recovery)"
    let (layout, clip) = (Self.layouts.last!, 0.5)
    let expected = try results(specification, layout, clip: clip)
    #expect(try results(specification, layout) != expected)
    for overlap in [Overlap.inline, .thread] {
      #expect(try results(specification, layout, .messages, overlap, clip: clip) == expected)
    }
  }

  /// A change is what the largest values of the sum say, where everything is sent and nothing is remembered of before.
  @Test(arguments: ["top-k:k=1/1", "true-top-k:k=1/1", "fetch-sgd:k=1/1,candidates=1"])
  func everythingIsTheSum(_ specification: String) throws {
    let layout = Self.layouts.last!
    let found = try results(specification, layout)[0].map(Float.init(bitPattern:))
    let gradients = (0..<allRanks.count).map { gradient(layout.count, step: 0, rank: $0) }
    for index in found.indices {
      let sum = gradients.reduce(0) { $0 + 0.25 * Double($1[index]) }
      let bound = 1e-6 * gradients.reduce(1e-30) { $0 + abs(Double($1[index])) }
      #expect(abs(Double(found[index]) - sum) <= bound, "value \(index)")
    }
  }
}
