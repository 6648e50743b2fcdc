internal import Codecs
public import Transport

extension ParameterServer {
  /// The traffic counted so far.
  public var traffic: Traffic { messages.traffic }

  /// The traffic of this rank if each worker does its share of `minibatchCount` minibatches, by the format alone; at meetings every rank
  /// sends its shard once to each other in addition.
  public func predictedTraffic(of minibatchCount: Int) -> Traffic {
    traffic(of: minibatchCount, pushes: forms.codes, answers: settings.pullsFloats ? forms.floats : forms.codes)
  }

  /// The same if all messages carried floats.
  public func traffic(ofFloats minibatchCount: Int) -> Traffic {
    traffic(of: minibatchCount, pushes: forms.floats, answers: forms.floats)
  }

  private func traffic(of minibatchCount: Int, pushes: ShardCodes, answers: ShardCodes) -> Traffic {
    let header = ServerMessages.Header.byteCount
    let (perPush, perPull) = (settings.minibatchesPerPush, settings.minibatchesPerPush * settings.pushesPerPull)
    let own = minibatchCount / rankCount
    func pushed(_ minibatches: Int, to shard: Int) -> Int { minibatches * (pushes.byteCount(of: shard) + header) / perPush }
    func answered(_ minibatches: Int, by shard: Int) -> Int {
      minibatches * answers.byteCount(of: shard) / perPull + minibatches * header / perPush
    }
    var traffic = Traffic()
    for shard in owners where shard != rank {
      traffic.addSent(pushed(own, to: shard), insideHost: isInsideHost(shard))
      traffic.addReceived(answered(own, by: shard), insideHost: isInsideHost(shard))
    }
    guard owners.contains(rank) else { return traffic }
    let others = minibatchCount - own
    let inside = others * (0..<rankCount).count { $0 != rank && isInsideHost($0) } / max(1, rankCount - 1)
    for (minibatches, insideHost) in [(others - inside, false), (inside, true)] {
      traffic.addSent(answered(minibatches, by: rank), insideHost: insideHost)
      traffic.addReceived(pushed(minibatches, to: rank), insideHost: insideHost)
    }
    return traffic
  }
}
