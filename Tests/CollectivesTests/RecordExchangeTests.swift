import Buffers
import Collectives
import MPI
import Testing
import Transport
@testable import _CollectivesSupport

/// Small records of all ranks, in rank order.
@Suite(.serialized) struct RecordExchangeTests {
  @Test(arguments: transports) func gathersInRankOrder(_ transport: Transport) throws {
    let hosts = try HostMap(allRanks, transport: transport)
    let records = try RecordExchange(hosts)
    var random = SplitMix(51, allRanks.rank)
    for round in 0..<200 {
      let words = round % (RecordExchange.usualCapacity + 1)
      func record(_ rank: Int) -> [UInt64] {
        var random = SplitMix(52, round, rank)
        return (0..<words).map { _ in random.next() }
      }
      if random.next(below: 10) == 0 { sleepAtRandom(&random, upTo: 2000) }
      let found = try records.gather(record(allRanks.rank), activity: "a test")
      #expect(found == (0..<allRanks.count).map(record), "round \(round)")
    }
    let others = allRanks.count - 1
    #expect(records.traffic.bytesSent == 200 * 64 * others)
    #expect(records.traffic.bytesReceived == 200 * 64 * others)
    #expect(records.traffic.messagesSent == 200 * others)
    if transport == .messages { #expect(records.traffic.hostBytesSent == 0 && records.traffic.hostBytesReceived == 0) }
  }

  /// A record is as long as its words need, in whole cache lines, whatever there is room for.
  @Test(arguments: transports) func recordsAreAsLongAsTheirWords(_ transport: Transport) throws {
    let records = try RecordExchange(HostMap(allRanks, transport: transport), capacity: 40)
    for (words, byteCount) in [(40, 384), (0, 64), (7, 64), (8, 128), (1, 64), (39, 320)] {
      let before = records.traffic
      func record(of rank: Int) -> [UInt64] { (0..<words).map { UInt64(100 * rank + $0) } }
      let found = try records.gather(record(of: allRanks.rank), activity: "a test")
      #expect(found == (0..<allRanks.count).map(record))
      #expect((records.traffic - before).bytesSent == byteCount * (allRanks.count - 1))
      #expect((records.traffic - before).bytesReceived == byteCount * (allRanks.count - 1))
    }
  }

  /// Records between exchanges, without barriers, as in a training step.
  @Test(arguments: transports) func alternatesWithExchanges(_ transport: Transport) throws {
    let layout = Layouts.threeRows
    let codec = ReferenceCodec.oneBit(elements: nil)
    let setting = try Setting(codec, layout, transport, options: randomDelays(seed: 53))
    let records = try RecordExchange(setting.hosts)
    var reference = ReferenceExchange(layout, codec, rankCount: allRanks.count)
    for step in 0..<20 {
      let record = [UInt64(step), UInt64(allRanks.rank)]
      // Before the exchange, or on the way during it.
      var agreed: [[UInt64]] = []
      if step % 2 == 0 { agreed = try records.gather(record, activity: "a test") } else { try records.begin(record) }
      let gradients = drawGradients(count: layout.count, seed: 54, step: step, rankCount: allRanks.count)
      let found = try setting.run(gradients[allRanks.rank], step: step)
      if step % 2 == 1 { agreed = try records.finish(activity: "a test") }
      #expect(agreed == (0..<allRanks.count).map { [UInt64(step), UInt64($0)] })
      #expect(firstDifference(found, reference.run(gradients)) == nil)
    }
  }

  @Test(arguments: transports) func hostsAreKnown(_ transport: Transport) throws {
    let hosts = try HostMap(allRanks, transport: transport)
    #expect(hosts.hostNames.count == allRanks.count && hosts.hostRanks.count == allRanks.count)
    #expect(hosts.hostCount == Set(hosts.hostNames).count)
    let others = (0..<allRanks.count).filter { $0 != allRanks.rank }
    #expect(hosts.remoteRanks == others.filter { hosts.hostRanks[$0] == nil })
    if transport == .messages {
      #expect(hosts.host == nil && hosts.remoteRanks == others)
    } else {
      // Ranks of a host share its name, and are numbered in the order of the world.
      for peer in others where hosts.hostRanks[peer] != nil {
        #expect(hosts.hostNames[peer] == hosts.hostNames[allRanks.rank])
      }
      let ranks = hosts.hostRanks.compactMap { $0 }
      #expect(ranks == Array(0..<ranks.count))
    }
    for rank in 0..<allRanks.count { #expect(hosts.name(of: rank) == "rank \(rank) on \(hosts.hostNames[rank])") }
  }
}
