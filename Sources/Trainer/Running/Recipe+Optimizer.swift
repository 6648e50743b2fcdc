internal import Codecs
internal import Collectives
internal import Optimizers
internal import Strategies

// What an optimizer cannot be used with.
extension Recipe {
  /// Rejects options that the optimizer cannot be used with.
  func checkOptimizer(_ options: TrainerOptions) throws(OptionError) {
    try checkStart(options)
    let obstacles = optimizer.obstacles
    let refusals: [(isAsked: Bool, option: String, reason: String?)] = [
      (options.clip != nil, "clip \(options.clip ?? 0)", obstacles.clip),
      (strategy.schedule != .synchronous, "strategy \(options.strategy)", obstacles.otherStrategies),
      (options.tuneMinibatch != nil, "tune-minibatch \(options.tuneMinibatch ?? "")", obstacles.otherMinibatches),
      (options.tuneRate != nil, "tune-rate \(options.tuneRate ?? "")", obstacles.tunedRate),
    ]
    for case (true, let option, let reason?) in refusals {
      throw OptionError("--\(option) does not go with --optimizer \(options.optimizer): \(reason)")
    }
    guard let steps = optimizer.floatSteps, aggregation.codec?.isIdentity != true else { return }
    guard aggregation.capabilities.warmStarts else {
      throw OptionError(
        "--codec \(options.codec) does not go with --optimizer \(options.optimizer), which begins with \(steps) steps of floats: "
          + "it uses its own code from the first step")
    }
    var isLongEnough = options.warmStart == nil
    if case .floats(let count) = options.warmStart { isLongEnough = count >= steps }
    guard isLongEnough else {
      throw OptionError(
        "--warm-start \(options.texts["warm-start"] ?? "") does not go with --optimizer \(options.optimizer), which begins with "
          + "\(steps) steps of floats; leave it out")
    }
  }

  /// Rejects options that would store or compare gradients of different magnitudes.
  private func checkStart(_ options: TrainerOptions) throws(OptionError) {
    var reason: String?
    if case .replicated = options.warmStart { reason = optimizer.obstacles.replicatedStart }
    if options.warmStart == .automatic { reason = optimizer.obstacles.automaticStart }
    guard let reason else { return }
    throw OptionError(
      "--warm-start \(options.texts["warm-start"] ?? "") does not go with --optimizer \(options.optimizer): \(reason)")
  }
}
