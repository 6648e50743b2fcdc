internal import Buffers
public import Transport

extension PairExchange {
  /// The traffic counted so far.
  public var traffic: Traffic { messages.traffic + mean.traffic }

  /// The traffic of this rank in a step of as many minibatches as workers, by the format alone and in the mean over whom workers ask;
  /// meetings come on top of it.
  public var predictedTraffic: Traffic {
    settings.graph.traffic(of: placement, insideHost: hosts.insideHost, valueCount: workers[0].model.count)
  }

  /// The traffic of this rank between the last two meetings and at the second, by the format alone, if workers did these steps.
  ///
  /// - Parameter steps: By worker, those of ``PairWorker/history``.
  public func predictedTraffic(of steps: [[PairStep]]) -> Traffic {
    let minibatches = steps.map { steps in
      steps.compactMap { step -> Int? in if case .update(let minibatch) = step { minibatch } else { nil } }
    }
    let claims = minibatches.indices.map { claimCount(of: minibatches[$0], by: $0) }
    return settings.graph.traffic(
      of: placement, insideHost: hosts.insideHost, valueCount: workers[0].model.count, steps: steps, claimCounts: claims,
      seed: settings.seed)
      + mean.predictedTraffic
  }

  /// How often a worker that did these minibatches asked for one: after each, but not where it knew that there are no more for it.
  private func claimCount(of done: [Int], by worker: Int) -> Int {
    if let listedCounts { return min(done.count, max(0, listedCounts[worker] - 1)) }
    return switch settings.shares {
    case .counter: done.count
    case .own: done.count { $0 + settings.graph.count < minibatches.upperBound }
    }
  }
}
