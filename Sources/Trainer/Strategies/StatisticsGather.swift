internal import Buffers
internal import Collectives
internal import Networks
internal import Transport

/// Shares the statistics of batches among the ranks that share the samples of a step.
///
/// The records have their own messages; while they are awaited, the exchange of gradients goes on.
///
/// - Cost: 8 · (2C + 1) bytes to each other rank forward and 16 · C backward for a layer of C channels.
final class StatisticsGather: StatisticsExchange {
  private let records: RecordExchange
  /// Seconds spent waiting for the others.
  private(set) var waitingSeconds = 0.0
  /// Called while waiting for others.
  var meanwhile: (() -> Void)?

  /// The exchange for `network`; nil if it does not share statistics.
  ///
  /// Collective over the ranks of `hosts`.
  init?(for network: any Network, among hosts: HostMap) throws {
    guard let statistics = network.statistics, statistics.isSynchronized else { return nil }
    let channels = statistics.layout.tensors.map(\.count).max() ?? 0
    records = try RecordExchange(hosts, capacity: 2 * channels + 1)
  }

  func gather(_ own: [Double]) throws -> [[Double]] {
    let stopwatch = Stopwatch()
    defer { waitingSeconds += stopwatch.seconds }
    return try records.gather(own.map(\.bitPattern), activity: "the statistics of a batch", meanwhile: meanwhile)
      .map { $0.map { Double(bitPattern: $0) } }
  }

  /// The traffic so far.
  var traffic: Traffic { records.traffic }

  /// Gives up on what has not arrived.
  func abandon() { records.abandon() }
}
