/// How the ranks share the statistics of a batch that is spread over them.
///
/// Collective: every rank gathers as often as the others and as many values, ranks without samples, too. Networks know nothing else
/// of other ranks.
public protocol StatisticsExchange: AnyObject {
  /// The values of all ranks, in rank order.
  func gather(_ own: [Double]) throws -> [[Double]]
}
