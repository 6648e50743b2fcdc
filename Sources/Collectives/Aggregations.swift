public import Buffers
public import Codecs
public import Transport

/// What an aggregation is made from.
public struct AggregationParts {
  /// The ranks that exchange.
  public var hosts: HostMap
  /// How contributions lie in the flat buffer.
  public var layout: TensorLayout
  /// Where contributions are; several are used in turn.
  public var gradients: [SharedGradient]
  /// How the exchange is driven.
  public var options = CodedAllReduce.Options()
  /// ρ, for aggregations that deliver a change.
  public var momentum = 0.0
  /// The largest norm of a sum of contributions, for aggregations that deliver a change.
  public var clip: Double?
  /// What everything random follows from.
  public var seed: UInt64 = 1

  /// Parts of which the rest is as usual.
  public init(hosts: HostMap, layout: TensorLayout, gradients: [SharedGradient]) {
    (self.hosts, self.layout, self.gradients) = (hosts, layout, gradients)
  }

  /// What carries an exchange in stages on.
  var stagedExchange: StagedExchange { StagedExchange(hosts, count: layout.count, observer: options.observer) }
}

/// What can be done with an aggregation, as data: who asks for something else is refused by name.
public struct AggregationCapabilities: Hashable, Sendable {
  /// What it delivers.
  public var result = AggregationResult.gradient
  /// Whether an exchange can be discarded, so that it may begin before it is known whether it counts, with the first tensor that is
  /// final, and be under way in the backward pass.
  public var discards = true
  /// Whether the ranks of a host may add up before they encode.
  public var isHierarchical = true
  /// Whether a sum may be scaled to a norm: by the update of a gradient, or inside.
  public var clips = true
  /// Whether it can begin with floats, or with more bits.
  public var warmStarts = true
  /// Whether trials with a copy of the state leave no trace.
  public var hasTrials = true
  /// Whether neighbours read contributions where they lie.
  public var sharesContributions = true
}

/// An aggregation that was chosen, before the model and the ranks are known.
public struct AggregationRecipe: Sendable {
  /// The full specification.
  public let specification: String
  /// The codec of a coded all-reduce; nil for other aggregations.
  public let codec: (any Codec)?
  /// What can be done with it.
  public let capabilities: AggregationCapabilities
  private let make: @Sendable (AggregationParts) throws -> any Aggregation
  private let plan: @Sendable (_ count: Int, _ rankCount: Int) throws -> [MessageRounds.Round]

  /// A coded all-reduce.
  public init(_ codec: any Codec) {
    self.codec = codec
    specification = codec.specification
    capabilities = AggregationCapabilities()
    plan = { _, _ in [] }
    make = { try CodedAllReduce(codec, layout: $0.layout, gradients: $0.gradients, options: $0.options) }
  }

  /// Another aggregation, whose `rounds` of messages say what it sends of so many values on so many ranks.
  init(
    _ specification: Specification, _ capabilities: AggregationCapabilities,
    rounds: @escaping @Sendable (_ count: Int, _ rankCount: Int) throws -> [MessageRounds.Round],
    make: @escaping @Sendable (AggregationParts) throws -> any Aggregation
  ) {
    codec = nil
    plan = rounds
    (self.specification, self.capabilities, self.make) = (specification.description, capabilities, make)
  }

  /// The rounds of messages of an exchange of `count` values on `rankCount` ranks; none of a coded all-reduce, whose traffic
  /// `ExchangeGeometry` predicts.
  ///
  /// - Throws: `SpecificationError` and `SketchError` if it cannot be for so many values.
  package func rounds(count: Int, rankCount: Int) throws -> [MessageRounds.Round] { try plan(count, rankCount) }

  /// Makes the aggregation; collective.
  ///
  /// - Throws: `SpecificationError` and `SketchError` if it cannot be for so many parameters, with one sentence on all ranks alike;
  ///   `ExchangeError.noSharedMemory` if a host cannot give the memory.
  public func callAsFunction(_ parts: AggregationParts) throws -> any Aggregation { try make(parts) }
}

/// All aggregations, those of `--codec`: every codec by a coded all-reduce, and the sparse ones.
public let aggregations = Registry<AggregationRecipe>("codec", codecs.entries.map(codedEntry) + sparseEntries)

/// The coded all-reduce of a codec.
private func codedEntry(_ entry: Registry<any Codec>.Entry) -> Registry<AggregationRecipe>.Entry {
  .init(entry.name, entry.summary, values: entry.values, keys: entry.keys) { AggregationRecipe(try entry.make($0)) }
}
