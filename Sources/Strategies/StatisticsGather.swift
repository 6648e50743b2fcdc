internal import Buffers
internal import Collectives
package import Networks
package import Transport

/// Shares the statistics of batches among the ranks that share the samples of a step.
///
/// The records have their own messages; while they are awaited, the exchange of gradients goes on.
///
/// - Cost: a record of 8 · (2C + 1) bytes to each other rank forward and one of 16 · C backward for a layer of C channels, both with 8
///   bytes more, in whole cache lines.
package final class StatisticsGather: StatisticsExchange {
  private let records: RecordExchange
  /// Seconds spent waiting for the others.
  private(set) var waitingSeconds = 0.0
  /// Called while waiting for others.
  var meanwhile: (() -> Void)?

  /// The exchange for `network`; nil if it does not share statistics.
  ///
  /// Collective over the ranks of `hosts`.
  package init?(for network: any Network, among hosts: HostMap) throws {
    guard let most = network.sharedChannelCounts.max() else { return nil }
    records = try RecordExchange(hosts, capacity: 2 * most + 1)
  }

  package func gather(_ own: [Double]) throws -> [[Double]] {
    let stopwatch = Stopwatch()
    defer { waitingSeconds += stopwatch.seconds }
    return try records.gather(own.map(\.bitPattern), activity: "the statistics of a batch", meanwhile: meanwhile)
      .map { $0.map { Double(bitPattern: $0) } }
  }

  /// The traffic so far.
  package var traffic: Traffic { records.traffic }

  /// The traffic of one gradient of a network whose layers share the statistics of `channelCounts` channels, for these numbers of
  /// neighbours and of ranks on other hosts.
  package static func traffic(of channelCounts: [Int], neighbours: Int, remoteRanks: Int) -> Traffic {
    channelCounts.reduce(Traffic()) { sum, count in
      [2 * count + 1, 2 * count].reduce(sum) {
        $0 + RecordExchange.traffic(wordCount: $1, neighbours: neighbours, remoteRanks: remoteRanks)
      }
    }
  }

  /// Gives up on what has not arrived.
  func abandon() { records.abandon() }
}

extension Network {
  /// The channels of each layer whose statistics ranks share, from the input on; empty if they share none.
  package var sharedChannelCounts: [Int] {
    guard let statistics, statistics.isSynchronized else { return [] }
    return statistics.channelCounts
  }
}
