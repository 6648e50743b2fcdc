public import Buffers
internal import MPI
public import Transport

/// The sizes from which the memory of an aggregation follows, before it is made.
public struct AggregationSizes: Sendable {
  /// The tensors of a contribution.
  public var layout: TensorLayout
  /// The number of values of a contribution.
  public var count: Int { layout.count }
  /// This rank.
  public var rank: Int
  /// The number of ranks that exchange.
  public var rankCount: Int
  /// The ranks that are reached by messages.
  public var remoteRanks: [Int]
  /// ρ, for aggregations that deliver a change.
  public var momentum = 0.0
  /// Whether the norm of a sum is limited.
  public var isClipped = false

  /// Sizes for contributions of these tensors from the ranks of `hosts`.
  public init(_ layout: TensorLayout, hosts: HostMap, momentum: Double = 0, isClipped: Bool = false) {
    (self.layout, rank, rankCount, remoteRanks) = (layout, hosts.world.rank, hosts.world.count, hosts.remoteRanks)
    (self.momentum, self.isClipped) = (momentum, isClipped)
  }
}

/// What a component keeps in memory: values of four bytes, with a name for people.
public typealias MemoryRow = (name: String, count: Int)

extension AggregationRecipe {
  /// What an aggregation of these sizes keeps on a rank from step to step, and needs to work.
  ///
  /// Messages are those of ``messageMemory(_:)``; the shared memory of a coded all-reduce is not counted.
  ///
  /// - Throws: `SpecificationError` and `SketchError` if the aggregation does not support this number of values.
  package func memory(_ sizes: AggregationSizes) throws -> [MemoryRow] { try keep(sizes) }

  /// Room for the messages of an exchange: the values that a rank writes, where its neighbours read them, and those that arrive
  /// from other hosts; 0 for a coded all-reduce.
  ///
  /// - Throws: As ``memory(_:)``.
  package func messageMemory(_ sizes: AggregationSizes) throws -> (written: Int, arriving: Int) {
    try rounds(sizes.layout, rankCount: sizes.rankCount).reduce((0, 0)) { sum, round in
      let (written, arriving) = round.room(of: sizes.rank, from: sizes.remoteRanks)
      return (sum.0 + written, sum.1 + arriving)
    }
  }
}

extension MessageRounds.Round {
  /// The floats that `rank` has room for: those it writes, and those that arrive from other hosts.
  fileprivate func room(of rank: Int, from remoteRanks: [Int]) -> (written: Int, arriving: Int) {
    switch capacities {
    case .gathered(let capacities): (capacities[rank], remoteRanks.reduce(0) { $0 + capacities[$1] })
    case .scattered(let capacities):
      (capacities[rank].reduce(0, +), remoteRanks.reduce(0) { $0 + capacities[$1][rank] })
    }
  }
}
