internal import Buffers
internal import Codecs
internal import Transport

/// An aggregation that finds, in rounds of messages, the few values by which the gradients of all ranks change the model.
///
/// What those few do not carry is kept, by the ranks or by the owners of shards, and comes later; momentum is part of this
/// memory. The learning rate enters before the error memory: the memory holds changes of parameters, at the rate at which they
/// came.
///
/// Source: Rothchild et al. 2020, "FetchSGD"; algorithms §2.3 and §2.6.
protocol SparseAggregation: StagedAggregation {
  /// The assignment of values to shards.
  var shards: ShardMap { get }
}

extension SparseAggregation {
  var result: AggregationResult { .change }

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
