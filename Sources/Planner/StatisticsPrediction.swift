internal import Strategies
internal import Transport

/// The statistics of batches that ranks share in a step (`norm=sync`): bytes of their records, and how long ranks wait for them.
///
/// Each normalized layer has a record forward and one backward, one after another. Each takes as long as an agreement, whose records are
/// the shortest there are, and what its bytes take on the link besides.
struct StatisticsPrediction {
  /// Bytes that the busiest rank sends: to other hosts, or in the memory of one.
  let bytesSent: Int
  /// Messages to other hosts.
  let messages: Int
  /// Seconds of a step.
  let seconds: Double

  init(_ channelCounts: [Int], ranks: Int, ranksPerHost: Int, link: LinkCosts) {
    let isOneHost = ranks <= ranksPerHost
    func sent(neighbours: Int) -> Traffic {
      StatisticsGather.traffic(of: channelCounts, neighbours: neighbours, remoteRanks: isOneHost ? 0 : ranks - 1 - neighbours)
    }
    // A host with fewer ranks than the others has the most ranks elsewhere; a full one has the most to send.
    let (busiest, usual) = (sent(neighbours: (ranks - 1) % ranksPerHost), sent(neighbours: min(ranks, ranksPerHost) - 1))
    bytesSent = isOneHost ? busiest.hostBytesSent : busiest.networkBytesSent
    messages = isOneHost ? 0 : busiest.messagesSent - (ranks - 1) % ranksPerHost * 2 * channelCounts.count
    let leaving = isOneHost ? usual.hostBytesSent : usual.networkBytesSent * ranksPerHost
    let meeting = link.meetingSeconds(peers: isOneHost ? ranks - 1 : ranks - ranksPerHost)
    seconds = Double(2 * channelCounts.count) * meeting + Double(leaving) * link.transfer.secondsPerUnit
  }
}
