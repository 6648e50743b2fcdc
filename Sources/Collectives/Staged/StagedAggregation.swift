internal import Buffers
internal import Kernels
internal import Transport

/// An aggregation whose exchange is a sequence of stages around rounds of messages.
///
/// An exchange begins when the whole contribution is final, and is not discarded.
protocol StagedAggregation: Aggregation {
  /// The messages of an exchange.
  var rounds: MessageRounds { get }
  /// The engine that carries an exchange on.
  var exchange: StagedExchange { get }
  /// The buffers of contributions.
  var gradients: [SharedGradient] { get }
  /// The stages of an exchange from the contribution to the end of the rounds.
  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage]
}

extension StagedAggregation {
  func begin(_ contribution: Contribution) {
    exchange.begin(contribution, stages(of: gradients[contribution.buffer].values, contribution))
  }

  func markReady(upTo end: Int) { exchange.markReady(upTo: end) }

  func advance() throws -> ExchangeTurn { try exchange.advance(abandon: abandon) }

  func deliver(into sink: Sink) throws { try exchange.deliver(into: sink, advance: advance) }

  func abandon() {
    exchange.abandon()
    rounds.abandon()
  }

  var exchangeCount: Int { exchange.exchangeCount }
  var timing: ExchangeTiming { exchange.timing }
  var traffic: Traffic { rounds.traffic }
  var predictedTraffic: Traffic { rounds.predictedTraffic }
  var predictsAtMost: Bool { true }
}

extension Sink {
  /// Takes the values of a gradient in a range.
  func take(_ values: UnsafePointer<Float>, in range: Range<Int>) {
    switch self {
    case .buffer(let buffer): copy(values, count: range.count, to: buffer.baseAddress + range.lowerBound)
    case .update(let update): if !range.isEmpty { update(range, values) }
    case .inPlace, .change: fatalError("a sum goes to a buffer or to an update")
    }
  }
}
