internal import Foundation

extension TrainerOptions {
  /// What is wrong with the values, one sentence without a full stop for each fault; empty where the run may start.
  ///
  /// - Parameters:
  ///   - ranks: how many ranks share the run, nil where that is not known yet.
  ///   - config: the file that the options come from, nil where it does not matter.
  public func faults(ranks: Int? = nil, config: String? = nil) -> [String] {
    var faults: [String] = []
    func require(_ isRight: Bool, _ sentence: @autoclosure () -> String) { if !isRight { faults.append(sentence()) } }

    // Beyond these, products of such numbers would not fit in 64 bits; nobody lives to see such a run end.
    require(epochs <= 1_000_000_000, "--epochs is at most 1000000000, not \(epochs)")
    if let steps { require(steps <= 1_000_000_000_000, "--steps is at most 1000000000000, not \(steps)") }
    require(epochs >= 1, "--epochs is at least 1, not \(epochs)")
    if let steps { require(steps >= 1, "--steps is at least 1, not \(steps)") }
    require(minibatch >= 1, "--minibatch is at least 1, not \(minibatch)")
    if let clients { require(clients >= 1, "--clients is at least 1, not \(clients)") }
    if let sampled {
      require(sampled >= 1, "--sampled is at least 1, not \(sampled)")
      require(clients != nil, "--sampled needs --clients, of which so many share a step")
      require(
        sampled <= minibatch, "--sampled \(sampled) is more than --minibatch \(minibatch); a client has a sample at least")
      if let clients { require(sampled <= clients, "--sampled \(sampled) is more than --clients \(clients)") }
    }
    require(modelParallel >= 1, "--model-parallel is at least 1, not \(modelParallel)")
    if let ranks, modelParallel >= 1 {
      let shares = ranks / modelParallel
      require(
        ranks % modelParallel == 0,
        "--model-parallel \(modelParallel) needs a number of ranks that is a multiple of \(modelParallel), not \(ranks)")
      require(
        minibatch < 1 || minibatch >= shares,
        modelParallel == 1
          ? "--minibatch \(minibatch) is smaller than the number of ranks, \(ranks); every rank needs at least one sample of a step"
          : "--minibatch \(minibatch) is smaller than the number of models, \(shares), that \(ranks) ranks make up; "
            + "every model needs at least one sample of a step")
    }
    require(
      learningRate.isFinite && learningRate > 0 && Float(learningRate).isFinite && Float(learningRate) > 0,
      "--learning-rate is a finite number above 0, not \(learningRate)")
    require(momentum >= 0 && momentum < 1, "--momentum is a number from 0 to below 1, not \(momentum)")
    require(
      weightDecay >= 0 && Float(weightDecay).isFinite, "--weight-decay is a finite number from 0, not \(weightDecay)")
    if let clip { require(clip.isFinite && clip > 0, "--clip is a finite norm above 0, not \(clip)") }
    if let fault = warmStart?.fault { faults.append("--warm-start \(fault)") }
    require((1...1024).contains(threads), "--threads is 1 to 1024, not \(threads)")
    if let checkpointEvery {
      require(checkpointEvery >= 1, "--checkpoint-every is at least 1 step, not \(checkpointEvery)")
      require(checkpoint != nil, "--checkpoint-every needs --checkpoint DIR, where the checkpoints go")
    }
    require(!resume || checkpoint != nil, "--resume needs --checkpoint DIR, where the checkpoints are")
    require(logEvery >= 1, "--log-every is at least 1 step, not \(logEvery)")
    if let evaluateEvery {
      require(evaluateEvery >= 1, "--evaluate-every is at least 1 step, not \(evaluateEvery)")
    }
    require(verifyEvery >= 0, "--verify-every is a number of steps, or 0 for never, not \(verifyEvery)")
    require(timeout > 0 && timeout <= 1_000_000, "--timeout is a number of seconds above 0, up to 1000000, not \(timeout)")
    require(patience > 0 && patience <= 1_000_000, "--patience is a number of seconds above 0, up to 1000000, not \(patience)")
    faults += fileFaults(config: config)
    if let injectNonFinite {
      require(
        NonFiniteInjection(injectNonFinite) != nil,
        "--inject-non-finite is STEP:RANK or FIRST-LAST:RANK:HALF, not '\(injectNonFinite)'")
    }
    if let injectFault {
      require(
        FaultInjector.Fault(injectFault) != nil,
        "--inject-fault is KIND:rank=R,phase=P, with step=S, time=N and seconds=T, not '\(injectFault)'")
    }
    if let pretendHosts { require(pretendHosts >= 1, "--pretend-hosts is at least 1, not \(pretendHosts)") }
    return faults
  }

  /// Throws all faults as one message, a line for each.
  public func validate(ranks: Int? = nil, config: String? = nil) throws(OptionError) {
    let faults = faults(ranks: ranks, config: config)
    guard faults.isEmpty else { throw OptionError(faults.joined(separator: "\n")) }
  }
}
