import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Rounds of messages whose lengths vary.
@Suite(.serialized) struct MessageRoundsTests {
  private static func value(_ step: Int, _ round: Int, _ sender: Int, _ receiver: Int, _ index: Int) -> Float {
    Float((((step * 3 + round) * 16 + sender) * 16 + receiver) * 4 + index % 4) + Float(index) * 0x1p-8
  }

  @Test(arguments: transports) func messagesArriveAsLongAsTheyAre(_ transport: Transport) throws {
    let (rank, count) = (allRanks.rank, allRanks.count)
    let hosts = try HostMap(allRanks, transport: transport)
    // The last may have more than one message's length; rank 1 has no room at all in the first.
    let fixed = (0..<count).map { sender in (0..<count).map { sender == 1 ? 0 : 3 * sender + $0 } }
    let varying = (0..<count).map { sender in (0..<count).map { 5 + sender + 2 * $0 } }
    let gathered = (0..<count).map { 14_000 * ($0 % 2) + 40 }
    let rounds = try MessageRounds(
      [
        .scattered("fixed", fixed), .gathered("gathered", gathered), .scattered("known", varying, lengths: .known),
        .scattered("announced", varying, lengths: .announced),
      ], hosts: hosts)
    var random = SplitMix(17, rank)
    for step in 0..<5 {
      try rounds.begin()
      func known(_ sender: Int, _ receiver: Int) -> Int { (step + sender * receiver) % (varying[sender][receiver] + 1) }
      func length(_ sender: Int) -> Int { step == 3 ? 0 : gathered[sender] - step * sender }
      func write(_ round: Int, to receiver: Int, _ count: Int) {
        for index in 0..<count {
          rounds.message(to: receiver, in: round)[index] = Self.value(step, round, rank, round == 1 ? 0 : receiver, index)
        }
      }
      func check(_ round: Int, from sender: Int, _ count: Int) throws {
        let message = try rounds.message(from: sender, in: round)
        let expected = (0..<count).map { Self.value(step, round, sender, round == 1 ? 0 : rank, $0) }
        #expect(Array(message) == expected, "round \(round) of step \(step) from \(sender)")
      }
      for receiver in 0..<count { write(0, to: receiver, fixed[rank][receiver]) }
      try rounds.send(0)
      sleepAtRandom(&random, upTo: 300)
      for sender in 0..<count { try check(0, from: sender, fixed[sender][rank]) }
      write(1, to: 0, length(rank))
      try rounds.send(1, counts: [length(rank)])
      for sender in 0..<count { try check(1, from: sender, length(sender)) }
      for receiver in 0..<count { write(2, to: receiver, known(rank, receiver)) }
      try rounds.send(
        2, outgoing: (0..<count).map { known(rank, $0) }, incoming: (0..<count).map { known($0, rank) })
      for sender in 0..<count { try check(2, from: sender, known(sender, rank)) }
      for receiver in 0..<count { write(3, to: receiver, known(rank, receiver)) }
      try rounds.send(3, counts: (0..<count).map { known(rank, $0) })
      for sender in 0..<count { try check(3, from: sender, known(sender, rank)) }
      try rounds.end()
    }
    let total = try allRanks.allReduce(rounds.traffic.bytesReceived - rounds.traffic.bytesSent, .sum)
    #expect(total == 0)
    #expect(rounds.traffic.bytesSent <= 5 * rounds.predictedTraffic.bytesSent)
    try allRanks.barrier()
  }

  /// Where every message is full, what is counted is what was predicted.
  @Test(arguments: transports) func countedIsPredicted(_ transport: Transport) throws {
    let count = allRanks.count
    let capacities = (0..<count).map { 20_000 + $0 }
    let rounds = try MessageRounds(
      [.scattered("fixed", capacities.map { _ in capacities }), .gathered("gathered", capacities)],
      hosts: HostMap(allRanks, transport: transport))
    for _ in 0..<3 {
      try rounds.begin()
      try rounds.send(0)
      try rounds.send(1, counts: [capacities[allRanks.rank]])
      for sender in 0..<count { _ = try rounds.message(from: sender, in: 1) }
      try rounds.end()
    }
    #expect(rounds.traffic == (0..<3).reduce(Traffic()) { sum, _ in sum + rounds.predictedTraffic })
    let others = capacities.reduce(0, +) - capacities[allRanks.rank]
    // Each rank announces one length to each other, in a cache line.
    let lengths = 64
    #expect(
      rounds.predictedTraffic.bytesSent == 4 * (others + (count - 1) * capacities[allRanks.rank]) + (count - 1) * lengths)
    #expect(rounds.predictedTraffic.returnedBytesSent == (count - 1) * (4 * capacities[allRanks.rank] + lengths))
    try allRanks.barrier()
  }

  @Test(.ranks(atLeast: 2), arguments: transports) func aRankThatStaysAwayIsNamed(_ transport: Transport) throws {
    let told = Told()
    let hosts = try HostMap(allRanks, transport: transport, patience: told.patience(limit: .milliseconds(600)))
    let rounds = try MessageRounds(
      [.gathered("sketches", Array(repeating: 4, count: allRanks.count), lengths: .full)], hosts: hosts)
    try rounds.begin()
    let absent = allRanks.count - 1
    if allRanks.rank != absent {
      #expect {
        try rounds.send(0)
        for rank in 0..<allRanks.count { _ = try rounds.message(from: rank, in: 0) }
      } throws: {
        guard case .timedOut(let activity, let awaited, _)? = $0 as? ExchangeError else { return false }
        return activity == "the exchange of sketches" && awaited == [hosts.name(of: absent)]
      }
      #expect(told.names.last == [hosts.name(of: absent)])
    }
    try allRanks.barrier()
    rounds.abandon()
  }
}

/// Sums of linear codes, and sparse vectors for everybody.
@Suite(.serialized) struct LinearReduceScatterTests {
  private static let shards = ShardMap(count: 9000, shardCount: 5)

  /// Owners get the messages in rank order; with whole numbers their sum is the message of the sum.
  @Test(arguments: transports) func ownersSeeAllMessagesInRankOrder(_ transport: Transport) throws {
    let count = allRanks.count
    let code = try SketchCode(.mersenne61, rows: 3, columns: 900, shards: Self.shards, seed: 4, specification: "")
    let scatter = LinearReduceScatter(code, rank: allRanks.rank, of: count)
    #expect(scatter.owned.flatMap { Array($0) } == Array(0..<5))
    let rounds = try MessageRounds([scatter.round("sketches")], hosts: HostMap(allRanks, transport: transport))
    func values(_ rank: Int) -> FloatBuffer {
      let buffer = FloatBuffer(count: 9000)
      var random = SplitMix(8, rank)
      for index in 0..<9000 { buffer[index] = Float(random.next(below: 2001) - 1000) }
      return buffer
    }
    try rounds.begin()
    try scatter.send(values(allRanks.rank), in: 0, of: rounds)
    var sums: [Int: [Float]] = [:]
    var order: [Int] = []
    try scatter.receive(in: 0, of: rounds) { shard, message in
      order.append(shard)
      let own = (0..<code.messageCount(of: shard)).map { message[$0] }
      sums[shard] = zip(sums[shard] ?? own.map { _ in 0 }, own).map { $0 + $1 }
    }
    try rounds.end()
    #expect(order == Array(repeating: Array(scatter.owned[allRanks.rank]), count: count).flatMap { $0 })
    let all = FloatBuffer(count: 9000)
    for rank in 0..<count {
      let other = values(rank)
      for index in 0..<9000 { all[index] += other[index] }
    }
    for shard in scatter.owned[allRanks.rank] {
      let mine = FloatBuffer(count: Self.shards.count(of: shard))
      Self.shards.gather(shard, from: all.baseAddress, into: mine.baseAddress)
      let message = FloatBuffer(count: code.messageCount(of: shard))
      code.encode(mine.baseAddress, of: shard, into: message.baseAddress)
      #expect(sums[shard] == Array(message.values), "shard \(shard)")
    }
    try allRanks.barrier()
  }

  @Test(arguments: transports, [true, false]) func everybodyGetsTheVectorsOfAllShards(
    _ transport: Transport, _ hasValues: Bool
  ) throws {
    let owned = LinearReduceScatter(DenseCode(Self.shards), rank: allRanks.rank, of: allRanks.count).owned
    let most = [40, 0, 3, 1024, 7]
    let gather = SparseAllGather(Self.shards, owned: owned, most: most, hasValues: hasValues, rank: allRanks.rank)
    let rounds = try MessageRounds([gather.round("updates")], hosts: HostMap(allRanks, transport: transport))
    func vector(_ shard: Int, _ step: Int) -> SparseVector {
      let count = step == 0 ? most[shard] : most[shard] / 2
      let indices = (0..<count).map { UInt32($0 + step) }
      return SparseVector(indices: indices, values: indices.map { Float($0) * 0.1 - Float(shard) })
    }
    for step in 0..<3 {
      try rounds.begin()
      try gather.send(owned[allRanks.rank].map { vector($0, step) }, in: 0, of: rounds)
      var next = 0
      try gather.receive(in: 0, of: rounds) { shard, found in
        let expected = vector(shard, step)
        #expect(shard == next && found.indices == expected.indices)
        #expect(found.values == (hasValues ? expected.values : expected.values.map { _ in 0 }))
        next += 1
      }
      #expect(next == 5)
      try rounds.end()
    }
    try allRanks.barrier()
  }

  /// Bytes that are no list are refused with the sender's name.
  @Test(.oneProcess) func damagedListsAreRefused() throws {
    let lists = SparseLists(Self.shards, most: [4, 4, 4, 4, 4])
    let message = FloatBuffer(count: lists.capacity(of: 0..<5))
    let vectors = (0..<5).map { SparseVector(indices: [UInt32($0), 900], values: [1, 2]) }
    let length = lists.encode(vectors, of: 0..<5, into: message.baseAddress)
    func decode(_ count: Int) throws -> [SparseVector] {
      var found: [SparseVector] = []
      try lists.decode(UnsafeBufferPointer(rebasing: message.values.prefix(count)), of: 0..<5, from: 3) { found.append($1) }
      return found
    }
    #expect(try decode(length) == vectors)
    for count in 0..<length {
      #expect { try decode(count) } throws: { "\($0)".contains("rank 3") }
    }
    for word in 0..<length {
      let bits = message[word].bitPattern
      for flipped in [bits ^ 1 << 31, bits ^ 1 << 3, ~bits] {
        message[word] = Float(bitPattern: flipped)
        // Some words are values, which may be anything; the others must not bring the program down.
        _ = try? decode(length)
      }
      message[word] = Float(bitPattern: bits)
    }
  }
}
