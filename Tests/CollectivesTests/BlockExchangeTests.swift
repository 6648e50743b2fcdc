import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Blocks of matrices among ranks.
@Suite(.serialized) struct BlockExchangeTests {
  /// All-gathers and all-to-alls of uneven columns; rank 1 writes nothing to the last slot, and nothing goes to rank 0 in it.
  private static let slots: [BlockSlot] = {
    let (rank, count) = (allRanks.rank, allRanks.count)
    let counts = (0..<count).map { 3 * $0 % 5 }
    let columns = Partition(count: 2 * count + 1, into: count).ranges
    let last = (0..<count).map { $0 == 1 ? 0..<0 : 0..<4 }
    return [
      BlockSlot(
        "gathered", columnCounts: counts, outgoing: counts.map { _ in 0..<counts[rank] }, incoming: counts.map { 0..<$0 }),
      BlockSlot(
        "crossed", columnCounts: counts.map { _ in 2 * count + 1 }, outgoing: columns,
        incoming: counts.map { _ in columns[rank] }),
      BlockSlot(
        "uneven", columnCounts: last.map(\.count), outgoing: (0..<count).map { $0 == 0 ? 0..<0 : last[rank] },
        incoming: rank == 0 ? last.map { _ in 0..<0 } : last),
    ]
  }()

  /// What `rank` writes in a pass to a column of a sample.
  private static func value(_ rank: Int, pass: Int, slot: Int, column: Int, sample: Int) -> Float {
    Float((((pass * 3 + slot) * 16 + rank) * 64 + column) * 8 + sample)
  }

  /// Runs a pass, with what must be sent of it.
  private func pass(_ number: Int, sampleCount: Int, over exchange: BlockExchange, random: inout SplitMix) throws -> Int {
    var sent = 0
    try exchange.begin(sampleCount: sampleCount)
    for (slot, it) in Self.slots.enumerated() {
      if random.next(below: 4) == 0 { sleepAtRandom(&random, upTo: 500) }
      let values = exchange.values(of: slot)
      // Each block by rows: its own columns one after another for a sample, then those of the next sample.
      let blocks = slot == 1 ? it.outgoing : [0..<it.columnCounts[allRanks.rank]]
      for block in blocks {
        for sample in 0..<sampleCount {
          for column in block {
            values[block.lowerBound * sampleCount + sample * block.count + column - block.lowerBound] =
              Self.value(allRanks.rank, pass: number, slot: slot, column: column, sample: sample)
          }
        }
      }
      try exchange.publish(slot)
      for (rank, columns) in it.outgoing.enumerated() where rank != allRanks.rank { sent += columns.count * sampleCount * 4 }
      // Rank 0 reads some blocks late, and some never.
      if slot == 0 && number % 3 == 0 && allRanks.rank == 0 { continue }
      for rank in 0..<allRanks.count where !it.incoming[rank].isEmpty {
        let block = try exchange.block(slot, from: rank)
        let columns = it.incoming[rank]
        for sample in 0..<sampleCount {
          for column in columns {
            #expect(
              block[sample * columns.count + column - columns.lowerBound]
                == Self.value(rank, pass: number, slot: slot, column: column, sample: sample))
          }
        }
      }
    }
    try exchange.end()
    return sent
  }

  @Test(arguments: transports) func blocksArriveAsTheyWereWritten(_ transport: Transport) throws {
    let exchange = try BlockExchange(HostMap(allRanks, transport: transport))
    #expect(exchange.slice == allRanks.rank && exchange.sliceCount == allRanks.count)
    var random = SplitMix(91, allRanks.rank)
    var sent = 0
    var number = 0
    for room in [3, 7] {
      try exchange.reserve(Self.slots, sampleCount: room)
      for _ in 0..<40 {
        sent += try pass(number, sampleCount: 1 + number % room, over: exchange, random: &random)
        number += 1
      }
    }
    #expect(exchange.traffic.bytesSent == sent)
    let total = try allRanks.allReduce(exchange.traffic.bytesReceived - exchange.traffic.bytesSent, .sum)
    #expect(total == 0)
    #expect(exchange.traffic.hostBytesSent == (transport == .messages ? 0 : sent))
    try allRanks.barrier()
  }

  /// Blocks longer than a message, of lengths around a whole number of them.
  @Test(arguments: transports) func longBlocksArriveInPieces(_ transport: Transport) throws {
    let (rank, count) = (allRanks.rank, allRanks.count)
    let lengths = (0..<count).map { [13_312, 26_625, 0, 39_935][$0 % 4] }
    let slot = BlockSlot(
      "long", columnCounts: lengths, outgoing: lengths.map { _ in 0..<lengths[rank] }, incoming: lengths.map { 0..<$0 })
    let exchange = try BlockExchange(HostMap(allRanks, transport: transport))
    try exchange.reserve([slot], sampleCount: 1)
    for pass in 0..<3 {
      try exchange.begin(sampleCount: 1)
      for index in 0..<lengths[rank] { exchange.values(of: 0)[index] = Float(pass * 100_000 + 7 * rank + index) }
      try exchange.publish(0)
      for (peer, length) in lengths.enumerated() {
        let block = try exchange.block(0, from: peer)
        let differing = (0..<length).first { block[$0] != Float(pass * 100_000 + 7 * peer + $0) }
        #expect(differing == nil, "from \(peer)")
      }
      try exchange.end()
    }
    #expect(exchange.traffic.bytesSent == 3 * 4 * lengths[rank] * (count - 1))
    if transport == .messages {
      #expect(exchange.traffic.messagesSent == 3 * [1, 3, 0, 3][rank % 4] * (count - 1))
    }
  }

  @Test(.ranks(atLeast: 2), arguments: transports) func aRankThatStaysAwayIsNamed(_ transport: Transport) throws {
    let told = Told()
    let hosts = try HostMap(allRanks, transport: transport, patience: told.patience(limit: .milliseconds(600)))
    let exchange = try BlockExchange(hosts)
    try exchange.reserve(Self.slots, sampleCount: 2)
    try exchange.begin(sampleCount: 2)
    let absent = allRanks.count - 1
    if allRanks.rank != absent {
      #expect {
        try exchange.publish(1)
        for rank in 0..<allRanks.count { _ = try exchange.block(1, from: rank) }
      } throws: {
        guard case .timedOut(let activity, let awaited, _)? = $0 as? ExchangeError else { return false }
        return activity == "the exchange of crossed" && awaited == [hosts.name(of: absent)]
      }
      #expect(told.names.last == [hosts.name(of: absent)])
    }
    try allRanks.barrier()
    exchange.abandon()
  }
}
