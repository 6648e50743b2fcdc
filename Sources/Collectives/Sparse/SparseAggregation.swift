internal import Buffers
internal import Codecs
internal import Transport

/// An aggregation that finds, in rounds of messages, the few values by which the gradients of all ranks change the model.
///
/// What those few do not carry is kept, by the ranks or by the owners of shards, and comes later; momentum is part of this
/// memory. The learning rate enters before the error memory: the memory holds changes of parameters, at the rate at which they
/// came. An exchange begins when the whole contribution is final and is not discarded.
///
/// Source: Rothchild et al. 2020, "FetchSGD"; algorithms §2.3 and §2.6.
protocol SparseAggregation: Aggregation {
  /// The assignment of values to shards.
  var shards: ShardMap { get }
  /// The messages of an exchange.
  var rounds: MessageRounds { get }
  /// The engine that carries an exchange on.
  var exchange: StagedExchange { get }
  /// The buffers of contributions.
  var gradients: [SharedGradient] { get }
  /// The stages of an exchange from the contribution to the end of the rounds.
  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage]
}

extension SparseAggregation {
  var result: AggregationResult { .change }

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

  /// The stages that add the messages of `scatter` as their owner.
  func adding(_ scatter: LinearReduceScatter, in round: Int, _ add: @escaping (Int, UnsafePointer<Float>) -> Void) -> [Stage] {
    rounds.peers.map { peer in rounds.message(from: peer, in: round, .sum) { scatter.take($0, add: add) } }
  }

  /// The stages that pass the owners' results to the sink, shard by shard, once the delivery is requested.
  func delivering(
    _ gather: SparseAllGather, in round: Int, _ note: @escaping (_ shard: Int, _ change: SparseVector) -> Void = { _, _ in }
  ) -> [Stage] {
    let (exchange, shards) = (exchange, shards)
    let opening = exchange.delivery { sink in if case .buffer(let buffer) = sink { buffer.clear() } }
    return [opening]
      + rounds.peers.map { peer in
        rounds.message(from: peer, in: round, .decode) { message in
          try gather.decode(message, from: peer) { shard, change in
            note(shard, change)
            exchange.sink?.take(change, of: shard, in: shards)
          }
        }
      }
  }
}

extension Sink {
  /// Takes the change of a shard; a buffer must have been cleared.
  fileprivate func take(_ change: SparseVector, of shard: Int, in shards: ShardMap) {
    switch self {
    case .change(let take): take(change, shard, shards)
    case .buffer(let buffer):
      for (index, value) in zip(change.indices, change.values) { buffer[shards.place(of: Int(index), in: shard)] = value }
    case .inPlace, .update: fatalError("a change is no gradient")
    }
  }
}
