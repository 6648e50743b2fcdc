internal import Buffers

/// Which samples belong to which step, and how long the run is: pure arithmetic, the same on every rank.
public struct RunPlan: Hashable, Sendable {
  /// The number of training samples.
  public let sampleCount: Int
  /// Samples of a step, over all ranks; the last step of an epoch may have fewer.
  public let minibatch: Int
  /// ⌈samples/minibatch⌉.
  public let stepsPerEpoch: Int
  /// The planned number of steps, which is the horizon of a schedule.
  public let steps: Int
  /// The number of steps at the start whose gradients cross as floats.
  public let warmStart: Int

  /// The plan that `options` make for so many training samples.
  ///
  /// - Parameters:
  ///   - options: What was asked for.
  ///   - sampleCount: The training samples.
  ///   - savedWarmStart: The warm start of the run that is resumed, which a run of another length must not change.
  public init(_ options: TrainerOptions, sampleCount: Int, savedWarmStart: Int? = nil) {
    precondition(sampleCount > 0 && options.minibatch > 0, "a run needs samples and a minibatch")
    self.sampleCount = sampleCount
    minibatch = min(options.minibatch, sampleCount)
    stepsPerEpoch = (sampleCount - 1) / minibatch + 1
    steps = options.steps ?? options.epochs * stepsPerEpoch
    warmStart = options.warmStart ?? savedWarmStart ?? steps / 10
  }

  /// The epoch of a step, counted from 0.
  public func epoch(of step: Int) -> Int { step / stepsPerEpoch }

  /// The number of samples of the steps before `step`.
  public func samples(before step: Int) -> Int {
    epoch(of: step) * sampleCount + min(step % stepsPerEpoch * minibatch, sampleCount)
  }

  /// The places of a step's samples in the order of its epoch.
  public func places(of step: Int) -> Range<Int> {
    let start = step % stepsPerEpoch * minibatch
    return start..<min(start + minibatch, sampleCount)
  }

  /// The places of one part of a step's samples, where a step is done in `parts` parts.
  public func places(of step: Int, part: Int, of parts: Int) -> Range<Int> {
    places(of: step).slice(part, of: parts)
  }

  /// The places of one rank's samples: its slice of the step's, or of a part of the step's.
  public func places(of step: Int, part: Int = 0, of parts: Int = 1, rank: Int, ranks: Int) -> Range<Int> {
    places(of: step, part: part, of: parts).slice(rank, of: ranks)
  }
}

extension Range<Int> {
  /// One of `count` slices as equal as can be.
  fileprivate func slice(_ index: Int, of count: Int) -> Range<Int> {
    let slice = Partition(count: self.count, into: count)[index]
    return lowerBound + slice.lowerBound..<lowerBound + slice.upperBound
  }
}
