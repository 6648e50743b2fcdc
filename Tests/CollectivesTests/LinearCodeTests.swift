import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// A linear code as somebody adds one: that of CONTRIBUTING.
private struct EveryEighth: LinearCode {
  let specification = "every-eighth"
  let shards: ShardMap

  func messageCount(of shard: Int) -> Int { (shards.count(of: shard) + 7) / 8 }

  func encode(_ values: UnsafePointer<Float>, of shard: Int, into message: UnsafeMutablePointer<Float>) {
    for place in 0..<messageCount(of: shard) { message[place] = values[8 * place] }
  }
}

@Suite(.serialized) struct LinearCodeTests {
  @Test("owners get the sum of a code that was just added", arguments: transports, [0, 7, 1500, 20_011])
  func ownersGetTheSum(_ transport: Transport, _ count: Int) throws {
    let world = allRanks
    let shards = ShardMap(count: count, shardCount: 5)
    let gradient = FloatBuffer(count: count)
    for index in 0..<count { gradient[index] = Float(index % 1001 + world.rank) }

    let scatter = LinearReduceScatter(EveryEighth(shards: shards), rank: world.rank, of: world.count)
    let rounds = try MessageRounds([scatter.round("eighths")], hosts: HostMap(world, transport: transport))
    var sums = (0..<5).map { [Float](repeating: 0, count: scatter.code.messageCount(of: $0)) }
    for _ in 0..<2 {
      try rounds.begin()
      try scatter.send(gradient, in: 0, of: rounds)
      try scatter.receive(in: 0, of: rounds) { shard, message in
        for place in sums[shard].indices { sums[shard][place] += message[place] }
      }
      try rounds.end()
    }

    let ranks = world.count * (world.count - 1) / 2
    for shard in scatter.owned[world.rank] {
      let expected = sums[shard].indices.map { place in
        Float(2 * (world.count * (shards.place(of: 8 * place, in: shard) % 1001) + ranks))
      }
      #expect(sums[shard] == expected, "shard \(shard)")
    }
    #expect(rounds.traffic.bytesSent == 2 * rounds.predictedTraffic.bytesSent)
    try world.barrier()
  }
}
