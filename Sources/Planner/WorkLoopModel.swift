/// The work loop of an exchange in miniature: when a rank ends that encodes, sums and decodes in rounds, with a link that sends
/// while it computes.
///
/// All ranks are taken to be alike, so that what a rank sends at a time is what it receives. The order of work is that of
/// `CodedAllReduce`: an owner's sum first, because others wait for it, then encoding, decoding last. A stripe of one segment
/// is one round, and its stages follow one another; more rounds overlap.
package struct WorkLoopModel {
  /// One segment of every stripe.
  ///
  /// Times are seconds.
  package struct Round: Hashable, Sendable {
    /// Encoding the segment of every stripe.
    package var encode = 0.0
    /// Sending them to their owners.
    package var contributions = 0.0
    /// Adding up the segment of the own stripe and encoding the sum.
    package var sum = 0.0
    /// Sending the sum to all.
    package var sums = 0.0
    /// Decoding the segments of all stripes, with the update.
    package var decode = 0.0

    package init() {}
  }

  /// The rounds, in order.
  package var rounds: [Round]
  /// Seconds from sending to arriving, of a stage without bytes.
  package var latency: Double
  /// How many messages a stage of a round is: the first leaves while others are still encoded, and is decoded while others are
  /// on their way.
  package var messagesPerStage: Int

  package init(rounds: [Round], latency: Double, messagesPerStage: Int) {
    self.rounds = rounds
    self.latency = latency
    self.messagesPerStage = max(1, messagesPerStage)
  }

  /// Seconds from the begin of the exchange to its end.
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
        // Messages leave one by one as they are encoded; the last cannot leave before it is.
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
