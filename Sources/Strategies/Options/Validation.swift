extension TrainerOptions {
  /// The faults of the values, one sentence without a full stop for each; empty if the run may start.
  ///
  /// Each row of the table checks its own value; faults of several options together are checked here.
  ///
  /// - Parameters:
  ///   - ranks: The number of ranks of the run; nil if not known yet.
  ///   - config: The file the options come from; nil if it does not matter.
  public func faults(ranks: Int? = nil, config: String? = nil) -> [String] {
    var faults = TrainerOptions.fields.compactMap { $0.fault(self) }
    func expect(_ isRight: Bool, _ sentence: @autoclosure () -> String) { if !isRight { faults.append(sentence()) } }

    let (minibatch, clients, modelParallel) = (self.minibatch, self.clients, self.modelParallel)
    if let sampled = self.sampled {
      expect(clients != nil, "--sampled needs --clients, of which \(sampled) share a step")
      expect(
        sampled <= minibatch, "--sampled \(sampled) is more than --minibatch \(minibatch); a client has a sample at least")
      if let clients { expect(sampled <= clients, "--sampled \(sampled) is more than --clients \(clients)") }
    }
    if let ranks, modelParallel >= 1 {
      let shares = ranks / modelParallel
      expect(
        ranks % modelParallel == 0,
        "--model-parallel \(modelParallel) needs a number of ranks that is a multiple of \(modelParallel), not \(ranks)")
      expect(
        minibatch < 1 || minibatch >= shares,
        modelParallel == 1
          ? "--minibatch \(minibatch) is smaller than the number of ranks, \(ranks); every rank needs at least one sample of a step"
          : "--minibatch \(minibatch) is smaller than the number of models, \(shares), that \(ranks) ranks make up; "
            + "every model needs at least one sample of a step")
    }
    if let ranks, case .listed(let changes) = self.shares, let count = changes.first?.weights.count, modelParallel == 1 {
      expect(count == ranks, "--shares names the shares of \(count) ranks; there are \(ranks)")
    }
    expect(
      self.checkpointEvery == nil || self.checkpoint != nil,
      "--checkpoint-every needs --checkpoint DIR, where the checkpoints go")
    expect(!self.resume || self.checkpoint != nil, "--resume needs --checkpoint DIR, where the checkpoints are")
    return faults + fileFaults(config: config)
  }

  /// Throws all faults as one message, one line for each.
  public func validate(ranks: Int? = nil, config: String? = nil) throws(OptionError) {
    let faults = faults(ranks: ranks, config: config)
    guard faults.isEmpty else { throw OptionError(faults.joined(separator: "\n")) }
  }
}
