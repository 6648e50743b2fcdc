public import Buffers

extension ParameterServer {
  /// What workers push, and what owners make of it.
  public enum Method: Hashable, Sendable {
    /// Gradients, which owners apply. Source: algorithms §7.
    case gradients
    /// A worker has a model of its own; `alpha` of its difference to the centre goes from one to the other: to the centre as it is, or
    /// with a bound of 0 and `together` to one centre for the pushes of all. Source: algorithms §8.
    case elastic(alpha: Float, together: Bool = false)
    /// What a worker's own steps have changed; owners apply it as one step. Source: frontier F1.4.
    case localSteps(OuterStep)
  }

  /// How workers and owners work together.
  public struct Settings: Sendable {
    /// The number of workers, a multiple of the number of ranks.
    public var workerCount: Int
    /// How large the shard of each rank is beside the others; nil for equal shards.
    ///
    /// A rank without a share owns none, and no worker waits for its answers.
    public var shares: [Int]?
    /// What workers push.
    public var method = Method.gradients
    /// The minibatches after which a worker pushes; the last pushes before a meeting may be of fewer.
    public var minibatchesPerPush = 1
    /// The pushes after which a worker pulls.
    public var pushesPerPull = 1
    /// Whether a worker computes while its push and its pull are under way.
    public var isPipelined = false
    /// What owners do about the age of gradients.
    public var rule = PushRule()
    /// The pushes that a worker may be ahead of the slowest, a range if the number is chosen at each wait; nil for any number.
    public var bound: ClosedRange<Int>?
    /// The pushes whose mean is applied at once.
    public var pushesPerUpdate = 1
    /// Whether workers pull floats, and not codes.
    public var pullsFloats = false
    /// The seed of stochastic codes and of emulated times.
    public var seed: UInt64 = 1

    /// Settings of `workerCount` workers.
    public init(workerCount: Int) { self.workerCount = workerCount }

    /// The number of pushes of all workers for these minibatches between two meetings; up to `end` if they meet early.
    public func pushCount(of minibatches: Range<Int>, upTo end: Int? = nil) -> Int { blocks(of: minibatches, upTo: end).count }

    /// The minibatches between two meetings, one range for each push; up to `end` if they meet early.
    func blocks(of minibatches: Range<Int>, upTo end: Int? = nil) -> [Range<Int>] {
      guard !minibatches.isEmpty else { return [] }
      // As many pushes for each worker, and as equal as they can be.
      let round = minibatchesPerPush * workerCount
      let count = min(minibatches.count, (minibatches.count + round - 1) / round * workerCount)
      let start = minibatches.lowerBound
      return Partition(count: minibatches.count, into: count).ranges
        .map { (start + $0.lowerBound..<start + $0.upperBound).clamped(to: start..<(end ?? minibatches.upperBound)) }
        .filter { !$0.isEmpty }
    }
  }
}

extension ParameterServer {
  /// What a turn has come to.
  package enum Turn {
    /// Gradients were computed or pushed.
    case worked
    /// There is nothing to do until a message arrives.
    case idle
    /// The segment is over, and this rank has the whole model.
    case done
  }

  /// Updates a range of the parameters with a gradient, by the owner; called for one part of the shard after another.
  ///
  /// - Parameters:
  ///   - range: The range.
  ///   - gradient: Its gradient.
  ///   - minibatch: The number of the minibatch, the lowest if there are several.
  ///   - rate: Turns the learning rate of the schedule into that of the push.
  ///   - samples: The number of samples.
  public typealias Update = (
    _ range: Range<Int>, _ gradient: UnsafePointer<Float>, _ minibatch: Int, _ rate: (Float) -> Float, _ samples: Int
  ) -> Void

  /// Ends an update, after all parts; the arguments are those of ``Update``.
  public typealias FinishUpdate = (_ minibatch: Int, _ rate: (Float) -> Float) -> Void

  /// Takes a step of a worker's own with a gradient, the mean over a minibatch's samples.
  public typealias Step = (
    _ worker: Int, _ values: FloatBuffer, _ gradient: FloatBuffer, _ minibatch: Int, _ samples: Int
  ) -> Void

  /// Computes the gradient of a minibatch at a worker's values, the mean over its samples, and returns their number, or 0 if it does not
  /// count; calls its last argument between layers.
  public typealias Work = (
    _ worker: Int, _ minibatch: Int, _ parameters: FloatBuffer, _ gradient: FloatBuffer, _ betweenLayers: @escaping () -> Void
  ) throws -> Int
}
