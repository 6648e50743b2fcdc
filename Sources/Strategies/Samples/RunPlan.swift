internal import Buffers

/// Which samples belong to which step, and how long the run is: pure arithmetic, the same on every rank.
///
/// The minibatch may change at the start of an epoch. Lengths given in steps (of the run, its warm start, the horizon of a
/// schedule) count steps of the requested minibatch, so that they mean the same number of samples even if the minibatch
/// changes; so does the position of a step in the run. While the minibatch is unchanged, a step's number is its position.
public struct RunPlan: Hashable, Sendable {
  /// Consecutive epochs with the same minibatch.
  struct Stretch: Hashable, Sendable {
    /// The first epoch.
    let epoch: Int
    /// Its first step.
    let step: Int
    let minibatch: Int
    let stepsPerEpoch: Int
  }

  /// The number of training samples.
  public private(set) var sampleCount: Int
  /// The requested samples per step, over all ranks; the last step of an epoch may have fewer.
  public let minibatch: Int
  /// ⌈samples/minibatch⌉, for the requested minibatch.
  public let stepsPerEpoch: Int
  /// The length of the run in steps of the requested minibatch, which is the horizon of a schedule.
  public let horizon: Int
  /// How the gradient of each step is exchanged.
  public private(set) var warmStartPhases: WarmStartPhases
  /// In the order of their epochs; the first begins with epoch 0, except in a trial.
  private(set) var stretches: [Stretch]
  /// How ranks share samples, in the order of steps; equally before the first.
  public private(set) var shareChanges: [ShareRule.Change] = []
  /// Whether ranks have equal samples, and take fewer steps with a smaller share.
  package var pacesByShares = false
  /// The number of steps after which the run ends before its planned length; nil if it does not.
  public private(set) var end: Int?

  /// The plan of `options` for the given number of training samples.
  ///
  /// - Parameters:
  ///   - options: The options of the run.
  ///   - sampleCount: The number of training samples.
  ///   - saved: The counters of the resumed run, whose warm start a different run length must not change.
  public init(_ options: TrainerOptions, sampleCount: Int, saved: [String: String] = [:]) {
    require(sampleCount > 0 && options.minibatch > 0, "a run needs samples and a minibatch")
    self.sampleCount = sampleCount
    minibatch = min(options.minibatch, sampleCount)
    stepsPerEpoch = (sampleCount - 1) / minibatch + 1
    horizon = options.steps ?? options.epochs * stepsPerEpoch
    warmStartPhases = WarmStartPhases(options.warmStart, horizon: horizon)
    warmStartPhases.restore(saved)
    stretches = [Stretch(epoch: 0, step: 0, minibatch: minibatch, stepsPerEpoch: stepsPerEpoch)]
    if case .listed(let changes) = options.shares { shareChanges = changes }
  }

  /// Shares samples by `weights`, one for each rank, from `step` on.
  public mutating func share(by weights: [Int], from step: Int) {
    shareChanges.removeAll { $0.step >= step }
    shareChanges.append(ShareRule.Change(step: step, weights: weights))
  }

  /// The shares of `ranks` ranks in a step; nil if they are equal.
  public func shares(in step: Int, of ranks: Int) -> [Int]? {
    shareChanges.last { $0.step <= step && $0.weights.count == ranks }?.weights
  }

  /// Sets the minibatch of all steps from the start of `epoch` on; earlier steps are unchanged.
  public mutating func use(minibatch: Int, from epoch: Int) {
    let step = firstStep(of: epoch)
    let size = min(minibatch, sampleCount)
    require(size > 0, "a step needs samples")
    stretches.removeAll { $0.epoch >= epoch }
    guard stretches.last?.minibatch != size else { return }
    stretches.append(Stretch(epoch: epoch, step: step, minibatch: size, stepsPerEpoch: (sampleCount - 1) / size + 1))
  }

  /// Ends the run after `step` steps; the horizon stays as planned.
  public mutating func end(after step: Int) { end = step }

  /// The plan of a trial: the first `sampleCount` samples of `epoch` in steps of `minibatch`, at their positions in this plan.
  package func trial(of epoch: Int, minibatch: Int, sampleCount: Int) -> (plan: RunPlan, steps: Range<Int>) {
    var trial = self
    let (first, count) = (firstStep(of: epoch), (sampleCount - 1) / minibatch + 1)
    trial.sampleCount = sampleCount
    trial.stretches = [Stretch(epoch: epoch, step: first, minibatch: minibatch, stepsPerEpoch: count)]
    return (trial, first..<first + count)
  }

  /// The stretch that a step belongs to.
  private func stretch(of step: Int) -> Stretch { stretches.last { $0.step <= step } ?? stretches[0] }

  /// The number of samples of the epoch before a step.
  private func samplesOfEpoch(before step: Int) -> Int {
    let stretch = stretch(of: step)
    return min((step - stretch.step) % stretch.stepsPerEpoch * stretch.minibatch, sampleCount)
  }
}

// MARK: - Steps and epochs

extension RunPlan {
  /// The planned number of steps.
  public var steps: Int {
    if let end { return end }
    let epoch = horizon / stepsPerEpoch
    let rest = min(horizon % stepsPerEpoch * minibatch, sampleCount)
    let size = minibatch(of: epoch)
    return firstStep(of: epoch) + (rest + size - 1) / size
  }

  /// The first step of an epoch, counted from 0.
  public func firstStep(of epoch: Int) -> Int {
    let stretch = stretches.last { $0.epoch <= epoch } ?? stretches[0]
    return stretch.step + (epoch - stretch.epoch) * stretch.stepsPerEpoch
  }

  /// The minibatch of an epoch.
  public func minibatch(of epoch: Int) -> Int { (stretches.last { $0.epoch <= epoch } ?? stretches[0]).minibatch }

  /// The epoch of a step, counted from 0.
  public func epoch(of step: Int) -> Int {
    let stretch = stretch(of: step)
    return stretch.epoch + (step - stretch.step) / stretch.stepsPerEpoch
  }

  /// Whether a step is the first of its epoch.
  public func beginsEpoch(_ step: Int) -> Bool { firstStep(of: epoch(of: step)) == step }

  /// The position of the run before `step`, in steps of the requested minibatch.
  public func position(of step: Int) -> Double {
    Double(epoch(of: step) * stepsPerEpoch) + Double(samplesOfEpoch(before: step)) / Double(minibatch)
  }

  /// How the gradient of a step is exchanged between ranks.
  public func phase(of step: Int) -> WarmStartPhase { warmStartPhases.phase(at: position(of: step)) }

  /// Whether a step belongs to the warm start.
  public func isInWarmStart(_ step: Int) -> Bool { position(of: step) < warmStartPhases.end }

  /// The length of the warm start, in steps of the requested minibatch.
  public var warmStart: Int { Int(warmStartPhases.end.rounded(.up)) }

  /// Ends an automatic warm start before `step`.
  public mutating func endWarmStart(before step: Int) { warmStartPhases.close(at: position(of: step)) }
}

// MARK: - Checkpoints

extension RunPlan {
  /// What a resumed run must know besides its options.
  package var counters: [String: String] {
    var counters = warmStartPhases.counters
    counters["minibatches"] = stretches.map { "\($0.epoch):\($0.minibatch)" }.joined(separator: " ")
    counters["end"] = end.map { String($0) }
    if !shareChanges.isEmpty { counters["shares"] = ShareRule.listed(shareChanges).optionText }
    return counters
  }

  /// Restores the minibatches and the end; returns whether that was possible.
  package mutating func restore(_ counters: [String: String]) -> Bool {
    end = counters["end"].flatMap { Int($0) }
    if case .listed(let changes) = counters["shares"].flatMap(ShareRule.init(optionText:)) { shareChanges = changes }
    // Versions that did not change the minibatch saved nothing about it.
    for text in (counters["minibatches"] ?? "").split(separator: " ") {
      let numbers = text.split(separator: ":").compactMap { Int($0) }
      guard numbers.count == 2, numbers[0] >= 0, numbers[1] > 0 else { return false }
      use(minibatch: numbers[1], from: numbers[0])
    }
    return true
  }
}

// MARK: - Samples

extension RunPlan {
  /// The number of samples of the steps before `step`.
  public func samples(before step: Int) -> Int { epoch(of: step) * sampleCount + samplesOfEpoch(before: step) }

  /// The places of a step's samples in the order of its epoch.
  public func places(of step: Int) -> Range<Int> {
    let start = samplesOfEpoch(before: step)
    return start..<min(start + stretch(of: step).minibatch, sampleCount)
  }

  /// The places of one part of a step's samples, if a step is done in `parts` parts.
  public func places(of step: Int, part: Int, of parts: Int) -> Range<Int> {
    places(of: step).slice(part, of: parts)
  }

  /// The places of one rank's samples: its share of the step's, or of a part of the step's.
  public func places(of step: Int, part: Int = 0, of parts: Int = 1, rank: Int, ranks: Int) -> Range<Int> {
    let all = places(of: step, part: part, of: parts)
    guard !pacesByShares, let weights = shares(in: step, of: ranks) else { return all.slice(rank, of: ranks) }
    let counts = ShareRule.counts(all.count, by: weights.map(Double.init))
    let start = all.lowerBound + counts.prefix(rank).reduce(0, +)
    return start..<start + counts[rank]
  }
}

extension Range<Int> {
  /// One of `count` slices that are as equal as possible.
  fileprivate func slice(_ index: Int, of count: Int) -> Range<Int> {
    let slice = Partition(count: self.count, into: count)[index]
    return lowerBound + slice.lowerBound..<lowerBound + slice.upperBound
  }
}
