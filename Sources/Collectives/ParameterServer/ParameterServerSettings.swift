public import Buffers

extension ParameterServer {
  /// How the servers work.
  public struct Settings {
    /// The number of workers, a multiple of the number of ranks.
    public var workerCount: Int
    /// What owners do about the age of gradients.
    public var rule = PushRule()
    /// The pushes that a worker may be ahead of the slowest; nil for any number.
    public var bound: Int?
    /// The pushes whose mean is applied at once.
    public var pushesPerUpdate = 1
    /// Whether workers pull floats, and not codes.
    public var pullsFloats = false
    /// The seed of stochastic codes.
    public var seed: UInt64 = 1

    /// Settings of `workerCount` workers.
    public init(workerCount: Int) { self.workerCount = workerCount }
  }
}

extension ParameterServer {
  /// Updates a range of the parameters with a gradient, by the owner.
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

  /// Computes the gradient of a minibatch at a worker's values, the mean over its samples, and returns their number, or 0 if it does not
  /// count; calls its last argument between layers.
  public typealias Work = (
    _ worker: Int, _ minibatch: Int, _ parameters: FloatBuffer, _ gradient: FloatBuffer, _ betweenLayers: @escaping () -> Void
  ) throws -> Int
}
