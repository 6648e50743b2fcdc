import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Deep gradient compression against plain loops over all ranks: the ramp of k, clipping, momentum that is masked (algorithms §4.5).
@Suite(.serialized, .ranks(atMost: 4)) struct DeepGradientCompressionTests {
  /// Fewer values than ranks, one off a word, and several shards.
  @Test(
    arguments: [0, 1, 3, 65, 300, 5000],
    [
      (keys: "k=1/100,ramp=7", k: 100, ramp: 7, masks: true, clip: nil),
      (keys: "k=1/50,ramp=3,mask=false", k: 50, ramp: 3, masks: false, clip: nil),
      (keys: "k=1/10,ramp=1", k: 10, ramp: 1, masks: true, clip: nil),
      (keys: "k=1/20,ramp=0,clip=20", k: 20, ramp: 0, masks: true, clip: 20),
      (keys: "k=1/2,ramp=5,clip=2000", k: 2, ramp: 5, masks: true, clip: 2000),
    ] as [(keys: String, k: Int, ramp: Int, masks: Bool, clip: Double?)])
  func itIsThePlainLoop(
    _ count: Int, _ how: (keys: String, k: Int, ramp: Int, masks: Bool, clip: Double?)
  ) throws {
    for transport in transports {
      let run = try AggregationRun("dgc:\(how.keys)", count, transport, momentum: 0.5)
      var reference = DeepGradientCompressionReference(
        count, k: max(1, (count + how.k - 1) / how.k), ramp: how.ramp, momentum: 0.5, masks: how.masks, clip: how.clip)
      for step in 0..<9 {
        let (gradients, rate) = (DeepGradientCompressionReference.gradients(count, step: step), Float(step % 3 + 1) / 4)
        let expected = reference.run(gradients, rate: rate)
        #expect(try run(gradients[allRanks.rank], rate: rate) == expected, "\(count), \(transport), step \(step)")
      }
      try allRanks.barrier()
    }
  }

  /// The shares of the paper: 25 %, 6.25 %, 1.5625 %, 0.4 %, 0.1 %.
  @Test(.enabled(if: World.count == 1, "one rank's values are the change")) func sharesFallAsInThePaper() throws {
    let (count, run) = (100_000, try AggregationRun("dgc:k=1/1000,ramp=8", 100_000))
    let values = (0..<count).map { Float($0 + 1) }
    let sent = try (0..<10).map { _ in try run(values).count { $0 != 0 } }
    #expect(sent == [25_000, 25_000, 6250, 6250, 1563, 1563, 391, 391, 100, 100])
  }

  /// Everything that is sent is bounded by what is predicted of its phase, and the sum of it is predicted, too.
  @Test(arguments: ["", ",shards=1"]) func bytesFallWithTheShares(_ shards: String) throws {
    for transport in transports {
      let run = try AggregationRun("dgc:k=1/1000,ramp=8\(shards)", 40_000, transport)
      let settled = try AggregationRun("dgc:k=1/1000,ramp=0\(shards)", 40_000, transport)
      var (last, total) = (Int.max, Traffic())
      for step in 0..<10 {
        let (before, predicted) = (run.exchange.traffic, run.exchange.predictedTraffic)
        _ = try run(DeepGradientCompressionReference.gradients(40_000, step: step)[allRanks.rank])
        let sent = run.exchange.traffic - before
        #expect(sent.bytesSent <= predicted.bytesSent && sent.messagesSent <= predicted.messagesSent)
        // All values of all ranks might be one owner's, and in each shard the longest gaps.
        #expect(
          4 * allRanks.count * sent.bytesSent >= predicted.bytesSent,
          "step \(step): \(sent.bytesSent) of \(predicted.bytesSent)")
        if step % 2 == 0 {
          #expect(allRanks.count == 1 || predicted.bytesSent < last)
          last = predicted.bytesSent
        }
        #expect(predicted.bytesSent == last || allRanks.count == 1)
        total += predicted
        #expect(run.exchange.rampTraffic?.total == total)
      }
      #expect(run.exchange.predictedTraffic == settled.exchange.predictedTraffic)
      #expect(run.exchange.rampTraffic?.settled == settled.exchange.predictedTraffic && settled.exchange.rampTraffic == nil)
      try allRanks.barrier()
    }
  }

  /// However the values of a message lie in its shards.
  @Test(.oneProcess, arguments: [1, 39, 64]) func messagesFitTheirRoom(_ shardCount: Int) {
    let shards = ShardMap(count: 40_003, shardCount: shardCount)
    var random = SplitMix(5, shardCount)
    for total in [0, 1, 38, 157, 1290, 20_000] {
      let lists = SparseLists(
        shards, most: (0..<shardCount).map { min(total, shards.count(of: $0)) }, total: total)
      let room = FloatBuffer(count: 120_000)
      for crowded in [1, 2, shardCount] {
        var (left, vectors) = (total, Array(repeating: SparseVector(), count: shardCount))
        for shard in 0..<min(crowded, shardCount) {
          let size = shards.count(of: shard)
          let count = min(size, left, crowded == 1 ? left : (total + crowded - 1) / crowded)
          left -= count
          // The last ones, or some anywhere: the longest gaps.
          let indices = crowded == 2 ? Set(size - count..<size) : []
          var chosen = indices
          while chosen.count < count { chosen.insert(Int(random.next() % UInt64(size))) }
          vectors[shard].indices = chosen.sorted().map { UInt32($0) }
          vectors[shard].values = chosen.map { _ in 1 }
        }
        let length = lists.encode(vectors, of: 0..<shardCount, into: room.baseAddress)
        #expect(length <= lists.capacity(of: 0..<shardCount), "\(total) values in \(crowded) shards")
      }
    }
  }

  /// k = d: the momentum of what was sent is cleared, or goes on as that of descent with momentum.
  @Test(arguments: [true, false]) func everythingAtOnceIsDescent(masks: Bool) throws {
    let run = try AggregationRun("dgc:k=1/1,mask=\(masks),ramp=50", 90, momentum: 0.5)
    var u = [[Float]](repeating: Array(repeating: 0, count: 90), count: allRanks.count)
    for step in 0..<5 {
      let gradients = DeepGradientCompressionReference.gradients(90, step: step)
      for rank in u.indices { u[rank] = zip(u[rank], gradients[rank]).map { (masks ? 0 : 0.5 * $0) + $1 } }
      let expected = (0..<90).map { i in u.reduce(Float(0)) { $0 + 0.25 * $1[i] } }
      #expect(try run(gradients[allRanks.rank], rate: 0.25) == expected)
    }
  }

  @Test func withoutMomentumAndRampItIsTopK() throws {
    let (dgc, plain) = (try AggregationRun("dgc:k=1/20,ramp=0", 700), try AggregationRun("top-k:k=1/20", 700))
    let (ramped, same) = (
      try AggregationRun("dgc:k=1/20,ramp=6", 700, momentum: 0.5), try AggregationRun("top-k:k=1/20,ramp=6", 700, momentum: 0.5)
    )
    for step in 0..<8 {
      let own = DeepGradientCompressionReference.gradients(700, step: step)[allRanks.rank]
      #expect(try dgc(own) == plain(own))
      #expect(try ramped(own) == same(own))
    }
  }

  /// From denormals to what a sum just holds.
  @Test(arguments: [1e-42, 1e-30, 1, 1e30, 7e37]) func anyMagnitude(_ size: Double) throws {
    let magnitude = Float(size)
    let run = try AggregationRun("dgc:k=1/10,ramp=4", 129)
    var reference = DeepGradientCompressionReference(129, k: 13, ramp: 4)
    for step in 0..<3 {
      let gradients = (0..<allRanks.count).map { rank in
        (0..<129).map { ($0 + rank + step) % 7 == 0 ? magnitude * Float($0 % 5 - 2) / 8 : 0 }
      }
      let found = try run(gradients[allRanks.rank])
      #expect(found == reference.run(gradients, rate: 1) && found.allSatisfy(\.isFinite))
    }
  }

  /// What is saved in the middle of the ramp goes on there.
  @Test func aResumedStreamIsTheSame() throws {
    let whole = try AggregationRun("dgc:k=1/100,ramp=6,clip=9", 500, momentum: 0.5)
    for step in 0..<3 { _ = try whole(DeepGradientCompressionReference.gradients(500, step: step)[allRanks.rank]) }
    var saved = StateInventory()
    whole.exchange.contribute(to: &saved)
    #expect(saved.counters == ["rampExchanges": "3"])
    let resumed = try AggregationRun("dgc:k=1/100,ramp=6,clip=9", 500, momentum: 0.5)
    var own = StateInventory()
    resumed.exchange.contribute(to: &own)
    for (to, from) in zip(own.tensors, saved.tensors) {
      #expect(to.name == from.name)
      _ = to.values.update(fromContentsOf: from.values)
    }
    resumed.exchange.restore(counters: saved.counters)
    for step in 3..<8 {
      let gradient = DeepGradientCompressionReference.gradients(500, step: step)[allRanks.rank]
      #expect(try whole(gradient) == resumed(gradient), "step \(step)")
    }
    // Without a ramp, there is nothing to count.
    var plain = StateInventory()
    try AggregationRun("top-k", 500).exchange.contribute(to: &plain)
    #expect(plain.counters.isEmpty)
  }

  @Test(.oneProcess) func itSettlesUnderItsName() throws {
    let recipe = try aggregations.make("dgc")
    #expect(recipe.specification == "dgc:k=1/1000,mask=true,ramp=200" && recipe.hasRamp)
    let settled = try recipe.settling()
    #expect(settled.specification == recipe.specification && !settled.hasRamp)
    let layout = TensorLayout([("weights", [100, 1000])])
    func bytes(_ recipe: AggregationRecipe) throws -> Int {
      try recipe.rounds(layout, rankCount: 4).reduce(0) { $0 + $1.mostSent(by: 0, of: 4) { _ in false }.bytesSent }
    }
    #expect(try bytes(settled) == bytes(aggregations.make("dgc:ramp=0")))
    #expect(try bytes(settled) * 30 < bytes(recipe))
    #expect(try !aggregations.make("top-k").hasRamp)
  }

  @Test(.oneProcess, arguments: ["ramp=-1", "ramp=half", "clip=0", "clip=all", "feedback=rank", "k=0"])
  func faultsAreSentences(_ keys: String) {
    let error = #expect(throws: SpecificationError.self) {
      try aggregations.make("dgc:\(keys)").rounds(TensorLayout([("weights", [100])]), rankCount: 2)
    }
    #expect(error.map { "\($0)".contains(keys.prefix { $0 != "=" }) } == true)
  }
}
