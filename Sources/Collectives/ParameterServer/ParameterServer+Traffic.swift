public import Transport

extension ParameterServer {
  /// The traffic counted so far.
  public var traffic: Traffic { messages.traffic }

  /// The traffic of this rank if each worker does its share of `minibatchCount` minibatches, by the format alone; at meetings every rank
  /// sends its shard once to each other in addition.
  public func predictedTraffic(of minibatchCount: Int) -> Traffic {
    traffic(of: minibatchCount, pushes: codes, answers: settings.pullsFloats ? floats : codes)
  }

  /// The same if all messages carried floats.
  public func traffic(ofFloats minibatchCount: Int) -> Traffic {
    traffic(of: minibatchCount, pushes: floats, answers: floats)
  }

  private func traffic(of minibatchCount: Int, pushes: ShardCodes, answers: ShardCodes) -> Traffic {
    let header = MemoryLayout<ServerMessages.Header>.stride
    let (own, others) = (minibatchCount / rankCount, minibatchCount - minibatchCount / rankCount)
    var traffic = Traffic()
    for shard in 0..<rankCount where shard != rank {
      let (push, answer) = (pushes.byteCount(of: shard) + header, answers.byteCount(of: shard) + header)
      traffic.networkBytesSent += own * push
      traffic.networkBytesReceived += own * answer
    }
    traffic.networkBytesSent += others * (answers.byteCount(of: rank) + header)
    traffic.networkBytesReceived += others * (pushes.byteCount(of: rank) + header)
    return traffic
  }
}
