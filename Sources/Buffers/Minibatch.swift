/// The samples that one rank processes in one step: inputs by rows, and the classes that are to be predicted for each.
public final class Minibatch {
  /// `capacity` × `featureCount` values by rows; the first `count` rows are in use.
  public let inputs: FloatBuffer
  /// The targets of each sample, `capacity` × `targetCount` classes by rows.
  public var labels: [Int32]
  /// The number of values of a sample.
  public let featureCount: Int
  /// The number of classes to predict for a sample: 1, or one for each position of a text.
  public let targetCount: Int
  /// The number of samples in use.
  public var count = 0
  /// Where the samples stand in a run; nil for samples that are read as they are.
  public var origin: MinibatchOrigin?

  /// A minibatch with room for `capacity` samples.
  public init(capacity: Int, featureCount: Int, targetCount: Int = 1) {
    inputs = FloatBuffer(count: capacity * featureCount)
    labels = Array(repeating: 0, count: capacity * targetCount)
    self.featureCount = featureCount
    self.targetCount = targetCount
    self.capacity = capacity
  }

  /// A minibatch with room for `capacity` samples of this form.
  public convenience init(capacity: Int, of form: SampleForm) {
    self.init(capacity: capacity, featureCount: form.inputCount, targetCount: form.targetCount)
  }

  /// The number of samples there is room for.
  public let capacity: Int
}

/// Where the samples of a minibatch stand in a run: whatever is random about them follows from it, for any number of ranks.
public struct MinibatchOrigin: Hashable, Sendable {
  /// The seed of the run.
  public let seed: UInt64
  /// The step, from 0.
  public let step: Int
  /// The place of the first sample among those of the step over all ranks; the others follow it.
  public let position: Int

  /// The samples from `position` on of a step.
  public init(seed: UInt64, step: Int, position: Int) {
    (self.seed, self.step, self.position) = (seed, step, position)
  }

  /// Random numbers for one purpose, for the sample in row `row` of the minibatch.
  public func random(_ purpose: Philox.Purpose, row: Int) -> Philox {
    Philox(seed: seed, purpose: purpose, step: step, stream: position + row)
  }

  /// Random numbers for one purpose that all samples of the step share.
  public func random(_ purpose: Philox.Purpose) -> Philox { Philox(seed: seed, purpose: purpose, step: step) }
}
