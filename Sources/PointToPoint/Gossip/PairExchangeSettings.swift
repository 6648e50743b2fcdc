extension PairExchange {
  /// How workers work together.
  public struct Settings: Sendable {
    /// Who averages with whom.
    public var graph: PairGraph
    /// Which minibatches a worker takes.
    public var shares = PairShares.counter
    /// The seed of who asks whom.
    public var seed: UInt64 = 1

    /// Workers of a graph.
    public init(graph: PairGraph) { self.graph = graph }
  }
}
