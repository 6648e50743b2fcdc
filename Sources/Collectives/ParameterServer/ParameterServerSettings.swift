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
