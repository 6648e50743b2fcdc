internal import Buffers
internal import MPI
public import Transport

/// Rounds of messages among all ranks, some of which vary in length with the data: lists of indices, requested values.
///
/// For methods that first exchange positions and then values: each rank writes its messages of a round where neighbours read
/// them in place and from where they are sent to other hosts (`BlockExchange`), after the ranks have announced the lengths. The
/// rounds of a step follow one another between ``begin()`` and ``end()``; messages can be read until then.
///
/// - Cost: the bytes of the messages; a round of varying lengths also costs a record of 8K bytes to each rank.
public final class MessageRounds {
  /// The contents of a round.
  public struct Round {
    /// For each rank, the most floats in each of its messages: one for each rank, or a single one that all ranks get.
    enum Capacities {
      case scattered([[Int]])
      case gathered([Int])
    }

    /// How a receiver knows the length of a message.
    public enum Lengths: Sendable {
      /// The message fills its room.
      case full
      /// Every rank can derive it from what was requested.
      case known
      /// The sender announces it beforehand.
      case announced
      /// The sender announces beforehand to all ranks whether its messages are full, or empty.
      case fullOrNone
    }

    let name: String
    let capacities: Capacities
    let lengths: Lengths

    /// The slot with the messages of `rank`.
    fileprivate func slot(of rank: Int) -> BlockSlot {
      func ranges(_ counts: [Int]) -> [Range<Int>] {
        var end = 0
        return counts.map { count in
          end += count
          return end - count..<end
        }
      }
      return switch capacities {
      case .gathered(let capacities):
        BlockSlot(
          name, columnCounts: capacities, outgoing: capacities.map { _ in 0..<capacities[rank] },
          incoming: capacities.map { 0..<$0 })
      case .scattered(let capacities):
        BlockSlot(
          name, columnCounts: capacities.map { $0.reduce(0, +) }, outgoing: ranges(capacities[rank]),
          incoming: capacities.map { ranges($0)[rank] })
      }
    }

    /// The number of lengths that a rank announces: one for each rank, or one for all.
    func announcedCount(_ rankCount: Int) -> Int { isReturned || lengths == .fullOrNone ? 1 : rankCount }

    /// The traffic of the round from that of its messages and of a record.
    fileprivate func traffic(_ messages: Traffic, _ record: Traffic) -> Traffic {
      var traffic = messages
      if isAnnounced { traffic += record }
      if isReturned { traffic.returnedBytesSent = traffic.bytesSent }
      return traffic
    }

    /// What a rank sends in the round if its messages fill their room, including the announcement of their lengths.
    ///
    /// - Parameters:
    ///   - rank: The rank.
    ///   - rankCount: The number of ranks.
    ///   - isNeighbour: Whether a rank shares its memory.
    package func mostSent(by rank: Int, of rankCount: Int, isNeighbour: (Int) -> Bool) -> Traffic {
      var traffic = Traffic()
      for peer in 0..<rankCount where peer != rank {
        let byteCount =
          switch capacities {
          case .gathered(let capacities): 4 * capacities[rank]
          case .scattered(let capacities): 4 * capacities[rank][peer]
          }
        if isNeighbour(peer) {
          traffic.hostBytesSent += byteCount
          traffic.messagesSent += byteCount > 0 ? 1 : 0
        } else {
          traffic.networkBytesSent += byteCount
          traffic.messagesSent += Mailbox.pieceCount(of: byteCount)
        }
      }
      guard isAnnounced else { return traffic }
      let neighbours = (0..<rankCount).count { $0 != rank && isNeighbour($0) }
      return traffic
        + RecordExchange.traffic(
          wordCount: announcedCount(rankCount), neighbours: neighbours,
          remoteRanks: rankCount - 1 - neighbours)
    }

    /// The most floats that rank `rank` may find in all messages of the round for it, including its own.
    package func mostReceived(by rank: Int) -> Int {
      switch capacities {
      case .gathered(let capacities): capacities.reduce(0, +)
      case .scattered(let capacities): capacities.reduce(0) { $0 + $1[rank] }
      }
    }

    /// The rank that sends the longest message to all; 0 if the round is scattered.
    package var busiestRank: Int {
      guard case .gathered(let capacities) = capacities else { return 0 }
      return capacities.indices.max { capacities[$0] < capacities[$1] } ?? 0
    }

    /// Whether its lengths are announced, which takes messages of their own.
    package var isAnnounced: Bool { lengths == .announced || lengths == .fullOrNone }

    /// Whether it returns results from owners to all ranks.
    package var isReturned: Bool {
      if case .gathered = capacities { true } else { false }
    }

    /// Rank *i* sends rank *j* `capacities[i][j]` floats, or at most that if lengths vary; a message to itself counts too.
    public static func scattered(_ name: String, _ capacities: [[Int]], lengths: Lengths = .full) -> Round {
      Round(name: name, capacities: .scattered(capacities), lengths: lengths)
    }

    /// Rank *i* sends all ranks the same `capacities[i]` floats, or at most that if lengths vary.
    public static func gathered(_ name: String, _ capacities: [Int], lengths: Lengths = .announced) -> Round {
      Round(name: name, capacities: .gathered(capacities), lengths: lengths)
    }
  }

  let rank: Int
  let rankCount: Int
  let rounds: [Round]
  let slots: [BlockSlot]
  let blocks: BlockExchange
  let records: RecordExchange
  /// For each round, the number of floats from each rank.
  private var counts: [[Int]]
  /// The bytes sent in gathered rounds, including the records of their lengths.
  private var returnedByteCount = 0

  /// Makes room for rounds among the ranks of `hosts`; collective.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` if a host cannot provide the memory.
  public init(_ rounds: [Round], hosts: HostMap) throws {
    let (rank, rankCount) = (hosts.world.rank, hosts.world.count)
    (self.rank, self.rankCount, self.rounds) = (rank, rankCount, rounds)
    slots = rounds.map { $0.slot(of: rank) }
    counts = rounds.map { _ in Array(repeating: 0, count: rankCount) }
    blocks = try BlockExchange(hosts)
    try blocks.reserve(slots, sampleCount: 1)
    records = try RecordExchange(hosts, capacity: max(rankCount, RecordExchange.usualCapacity))
  }

  /// The traffic counted so far.
  public var traffic: Traffic {
    var traffic = blocks.traffic + records.traffic
    traffic.returnedBytesSent = returnedByteCount
    return traffic
  }
  /// The traffic of the rounds of a step if every message fills its room: an upper bound.
  public var predictedTraffic: Traffic { predictedTraffic(of: rounds) }

  /// The traffic of a step if every message fills its room in `rounds`, which have less room for the same messages.
  func predictedTraffic(of rounds: [Round]) -> Traffic {
    rounds.reduce(Traffic()) { sum, round in
      let record = records.predictedTraffic(wordCount: round.announcedCount(rankCount))
      return sum + round.traffic(blocks.traffic(of: round.slot(of: rank)), record)
    }
  }

  /// Time spent waiting for messages so far.
  public var waiting: Duration { blocks.waiting }

  /// Begins the rounds of a step once no rank still reads those of the last one.
  public func begin() throws { try blocks.begin(sampleCount: 1) }

  /// Where this rank writes its message to `peer`, or its message to all ranks in a gathered round.
  public func message(to peer: Int = 0, in round: Int) -> UnsafeMutablePointer<Float> {
    blocks.values(of: round) + slots[round].outgoing[peer].lowerBound
  }

  /// Sends the written messages in full.
  public func send(_ round: Int) throws {
    require(rounds[round].lengths == .full, "messages are sent in full that may be shorter")
    counts[round] = slots[round].incoming.map(\.count)
    try publish(round, lengths: nil)
  }

  /// Sends the given number of floats to each rank, when every rank knows how many come from each.
  public func send(_ round: Int, outgoing: [Int], incoming: [Int]) throws {
    require(zip(outgoing, slots[round].outgoing).allSatisfy { $0 <= $1.count }, "a message is longer than its room")
    counts[round] = incoming
    try publish(round, lengths: (outgoing, incoming))
  }

  private func publish(_ round: Int, lengths: (outgoing: [Int], incoming: [Int])?) throws {
    let before = blocks.traffic.bytesSent
    try blocks.publish(round, lengths: lengths)
    if rounds[round].isReturned { returnedByteCount += blocks.traffic.bytesSent - before }
  }

  /// Sends the given number of floats to each rank, one number for all if the round is gathered.
  public func send(_ round: Int, counts own: [Int]) throws {
    try announce(round, counts: own)
    try send(round, counts: own, announced: records.finish(activity: MessageRounds.activity(of: rounds[round])))
  }

  /// Announces to the other ranks the lengths of this rank's messages of a round.
  func announce(_ round: Int, counts own: [Int]) throws {
    require(rounds[round].isAnnounced, "lengths are announced that all ranks know")
    let before = records.traffic.bytesSent
    try records.begin(own.map { UInt64($0) })
    if rounds[round].isReturned { returnedByteCount += records.traffic.bytesSent - before }
  }

  /// Sends the written messages, after all ranks have announced their lengths.
  func send(_ round: Int, counts own: [Int], announced all: [[UInt64]]) throws {
    let isGathered = rounds[round].isReturned
    try send(
      round, outgoing: isGathered ? Array(repeating: own[0], count: rankCount) : own,
      incoming: all.map { Int($0[isGathered ? 0 : rank]) })
  }

  static func activity(of round: Round) -> String { "the lengths of \(round.name)" }

  /// The message from `peer` in a round, after waiting for it; valid until the step ends.
  ///
  /// - Throws: `ExchangeError.timedOut`, naming the rank and the round, if nothing arrives.
  public func message(from peer: Int, in round: Int) throws -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(start: try blocks.block(round, from: peer), count: counts[round][peer])
  }

  /// Ends the rounds of a step.
  public func end() throws { try blocks.end() }

  /// Gives up on what has not arrived.
  public func abandon() {
    blocks.abandon()
    records.abandon()
  }
}
