internal import Collectives
internal import Transport

/// What exchanges have counted.
struct StreamCounts {
  var traffic = Traffic()
  var timing = ExchangeTiming()
  var exchangeCount = 0
  var nonFiniteGroups = 0

  /// Adds the counts of an exchange.
  mutating func add(_ exchange: any Aggregation) {
    traffic += exchange.traffic
    timing.encode += exchange.timing.encode
    timing.sum += exchange.timing.sum
    timing.decode += exchange.timing.decode
    timing.wait += exchange.timing.wait
    exchangeCount += exchange.exchangeCount
    nonFiniteGroups += exchange.nonFiniteGroups
  }
}
