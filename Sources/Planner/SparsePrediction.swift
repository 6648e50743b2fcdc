internal import Collectives
internal import Transport

/// Seconds of the work of an aggregation that passes rounds of messages, on a rank that owns everything and receives from itself alone.
public struct SparseCosts: Hashable, Sendable {
  /// From the gradient to the messages for owners.
  public var encode: Double
  /// What owners do: adding messages, and finding the values that change the model.
  public var sum: Double
  /// From the messages of owners to the changed model.
  public var decode: Double

  /// Costs of work.
  public init(encode: Double, sum: Double, decode: Double) { (self.encode, self.sum, self.decode) = (encode, sum, decode) }
}

/// One exchange of a sparse aggregation on the busiest rank: bytes from its rounds of messages, times from the costs.
///
/// Rounds follow one another, each after a latency, or two if lengths are announced. What an owner does is shared by the
/// owners, but for the messages that it adds: there are more of them with more ranks, each for fewer shards.
struct SparsePrediction {
  /// Bytes that the rank sends, at most.
  private(set) var bytesSent = 0
  /// Messages to other hosts.
  private(set) var messages = 0
  /// Seconds from its beginning to its end, with the change of the model.
  let seconds: Double

  init(
    _ rounds: [MessageRounds.Round], alone: [MessageRounds.Round], ranks: Int, ranksPerHost: Int, link: LinkCosts,
    work: SparseCosts, sumPerValue: Double
  ) {
    let rank = rounds.first { $0.isReturned }?.busiestRank ?? 0
    let host = rank / ranksPerHost
    let isOneHost = ranks <= ranksPerHost
    let hostRanks = min(ranks, (host + 1) * ranksPerHost) - host * ranksPerHost
    let peers = isOneHost ? ranks - 1 : ranks - hostRanks
    var wire = 0.0
    for round in rounds {
      let sent = round.mostSent(by: rank, of: ranks) { $0 / ranksPerHost == host }
      bytesSent += sent.bytesSent
      if !isOneHost { messages += sent.messagesSent - (hostRanks - 1) }
      let leaving = isOneHost ? sent.hostBytesSent : sent.networkBytesSent * hostRanks
      wire += link.transfer.seconds(for: Double(leaving)) + Double(round.isAnnounced ? 2 : 1) * link.stageSeconds(peers: peers)
    }
    func values(_ rounds: [MessageRounds.Round], areReturned: Bool) -> Int {
      rounds.reduce(0) { $0 + ($1.isReturned == areReturned ? $1.mostReceived(by: areReturned ? rank : 0) : 0) }
    }
    // All messages to an owner together are as long on any number of ranks, as each rank sends to all owners.
    let adding = min(work.sum, Double(values(alone, areReturned: false)) * sumPerValue)
    let returned = Double(values(rounds, areReturned: true)) / Double(max(1, values(alone, areReturned: true)))
    seconds = work.encode + adding + (work.sum - adding) / Double(ranks) + work.decode * returned + wire
  }
}
