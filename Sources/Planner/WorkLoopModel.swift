/// A small model of the work loop of an exchange.
///
/// It predicts when a rank that encodes, sums and decodes in rounds finishes, with a link that sends while the rank computes.
///
/// All ranks are assumed to be alike, so that at any time a rank receives what it sends. The order of work is that of
/// `CodedAllReduce`: an owner's sum first, because others wait for it, then encoding, decoding last. A shard of one segment is
/// one round, whose stages follow one another; several rounds overlap.
package struct WorkLoopModel {
  /// One segment of every shard.
  ///
  /// Times are seconds.
  package struct Round: Hashable, Sendable {
    /// Encoding the segment of every shard.
    package var encode = 0.0
    /// Sending the segments to their owners.
    package var contributions = 0.0
    /// Summing the segment of this rank's shard and encoding the sum.
    package var sum = 0.0
    /// Sending the sum to all ranks.
    package var sums = 0.0
    /// Decoding the segments of all shards, with the update.
    package var decode = 0.0

    package init() {}
  }

  /// The rounds, in order.
  package var rounds: [Round]
  /// Seconds from sending to arrival, for a stage without bytes.
  package var latency: Double
  /// The number of messages in a stage of a round.
  ///
  /// The first is sent while others are still being encoded, and is decoded while others are in transit.
  package var messagesPerStage: Int

  package init(rounds: [Round], latency: Double, messagesPerStage: Int) {
    self.rounds = rounds
    self.latency = latency
    self.messagesPerStage = max(1, messagesPerStage)
  }

  /// Seconds from the beginning of the exchange to its end.
  package var seconds: Double {
    let share = 1 / Double(messagesPerStage)
    var (now, link) = (0.0, 0.0)
    var (encoded, summed, decoded) = (0, 0, 0)
    var contributionsArrive: [Double] = []
    var sumsArrive: [(first: Double, last: Double)] = []
    while decoded < rounds.count {
      if summed < encoded, contributionsArrive[summed] <= now {
        let round = rounds[summed]
        now += round.sum
        link = max(link, now)
        let first = link + round.sums * share + latency
        link += round.sums
        sumsArrive.append((first, link + latency))
        summed += 1
      } else if encoded < rounds.count {
        let (round, start) = (rounds[encoded], now)
        now += round.encode
        // Messages leave one by one as they are encoded; the last cannot leave before it is encoded.
        link = max(max(link, start + round.encode * share) + round.contributions, now + round.contributions * share)
        contributionsArrive.append(link + latency)
        encoded += 1
      } else if decoded < summed, sumsArrive[decoded].first <= now {
        let round = rounds[decoded]
        now = max(now + round.decode, sumsArrive[decoded].last + round.decode * share)
        decoded += 1
      } else {
        let nextSum = summed < encoded ? contributionsArrive[summed] : .infinity
        let nextDecoding = decoded < summed ? sumsArrive[decoded].first : .infinity
        now = min(nextSum, nextDecoding)
      }
    }
    return now
  }
}
