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
  /// Whether `train plan` and `--codec auto` can predict it for any number of ranks.
  public var isPlanned = true
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

  /// A coded all-reduce.
  public init(_ codec: any Codec) {
    self.codec = codec
    specification = codec.specification
    capabilities = AggregationCapabilities()
    make = { parts in
      var options = parts.options
      options.seed = parts.seed
      return try CodedAllReduce(codec, layout: parts.layout, gradients: parts.gradients, options: options)
    }
  }

  /// Another aggregation.
  init(
    _ specification: Specification, _ capabilities: AggregationCapabilities,
    make: @escaping @Sendable (AggregationParts) throws -> any Aggregation
  ) {
    codec = nil
    (self.specification, self.capabilities, self.make) = (specification.description, capabilities, make)
  }

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
