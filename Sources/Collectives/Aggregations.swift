public import Buffers
public import Codecs
public import Transport

/// The inputs from which an aggregation is made.
public struct AggregationParts {
  /// The ranks that exchange.
  public var hosts: HostMap
  /// The layout of contributions in the flat buffer.
  public var layout: TensorLayout
  /// The buffers of contributions; several are used in turn.
  public var gradients: [SharedGradient]
  /// How the exchange is driven.
  public var options = CodedAllReduce.Options()
  /// The model that the sums change, for aggregations that look at how far it moves; nil if they are to follow plain descent.
  public var model: FloatBuffer?
  /// ρ, for aggregations that deliver a change.
  public var momentum = 0.0
  /// The largest norm of a sum of contributions, for aggregations that deliver a change.
  public var clip: Double?
  /// All ranks over which a norm is taken: also those with other slices of the model; those that exchange by default.
  public var normRanks: HostMap?
  /// The seed of everything random.
  public var seed: UInt64 = 1
  /// Whether a single rank does what each of several does, so that its work can be measured.
  package var worksAlone = false

  /// Creates parts with defaults for the rest.
  public init(hosts: HostMap, layout: TensorLayout, gradients: [SharedGradient]) {
    (self.hosts, self.layout, self.gradients) = (hosts, layout, gradients)
  }

  /// The engine of an exchange in stages.
  var stagedExchange: StagedExchange { StagedExchange(hosts, count: layout.count, observer: options.observer) }
}

/// The capabilities of an aggregation, as data: requests for anything else are refused by name.
///
/// By default it delivers gradients and has no others.
public struct AggregationCapabilities: Hashable, Sendable {
  /// What it delivers.
  public var result = AggregationResult.gradient
  /// Whether an exchange can be discarded, so that it may begin with the first final tensor, before it is known whether it
  /// counts, and be under way during the backward pass.
  public var discards = false
  /// Whether the ranks of a host may sum before they encode.
  public var isHierarchical = false
  /// Whether a sum may be scaled to a norm: in the update of a gradient, or inside the aggregation.
  public var clips = false
  /// Whether it supports a warm start, with floats or with more bits.
  public var warmStarts = false
  /// Whether trials with a copy of the state leave no trace.
  public var hasTrials = false
  /// Whether neighbours read contributions in place.
  public var sharesContributions = false
  /// Whether owners may change sums before they are encoded again.
  public var transformsAtOwners = false
  /// Whether it needs the contributions of all ranks at once, rather than one after another.
  public var needsAllContributions = false
  /// When a sum may be scaled after all, as a clause; nil for never.
  public var clipsIf: String?
  /// Whether it holds for plain descent alone: whole steps of the rate times the sum.
  public var needsPlainDescent = false
  /// Whether it is of use only if the samples of a rank are the same in every step.
  public var needsSameSamples = false
  /// Whether it also needs the gradient of the same samples at another model.
  public var needsSecondGradient = false
  /// Whether it holds for gradients alone, and not for what steps of the ranks' own have changed.
  public var needsGradients = false
  /// Whether it delivers votes on signs, whose size says nothing, and no sums.
  public var votes = false

  /// The key that made it another aggregation than its name alone says, for messages; nil if none did.
  public var key: String?

  /// Everything that the trainer can ask for, as a coded all-reduce has it.
  static let all = AggregationCapabilities(
    discards: true, isHierarchical: true, clips: true, warmStarts: true, hasTrials: true, sharesContributions: true,
    transformsAtOwners: true)
}

/// An aggregation chosen before the model and the ranks are known.
public struct AggregationRecipe: Sendable {
  /// The full specification.
  public private(set) var specification: String
  /// The codec of a coded all-reduce; nil for other aggregations.
  public let codec: (any Codec)?
  /// The codec of the coded all-reduce that carries its messages, also if it is one of differences; nil if none does.
  public let carrier: (any Codec)?
  /// Its capabilities.
  public let capabilities: AggregationCapabilities
  /// The specification of what it does after a ramp, in which exchanges become smaller; nil without one.
  var settled: String?
  private let make: @Sendable (AggregationParts) throws -> any Aggregation
  private let plan: @Sendable (_ layout: TensorLayout, _ rankCount: Int) throws -> [MessageRounds.Round]
  /// What it keeps in memory.
  let keep: @Sendable (AggregationSizes) throws -> [MemoryRow]

  /// Creates the recipe of a coded all-reduce.
  public init(_ codec: any Codec) {
    (self.codec, carrier) = (codec, codec)
    specification = codec.specification
    var capabilities = AggregationCapabilities.all
    capabilities.needsAllContributions = codec.dividesBySenders
    self.capabilities = capabilities
    plan = { _, _ in [] }
    keep = { sizes in
      codec.isIdentity || sizes.rankCount == 1 ? [] : [("residuals", sizes.count + sizes.count / sizes.rankCount)]
    }
    make = { parts in
      var options = parts.options
      options.seed = parts.seed
      return try CodedAllReduce(codec, layout: parts.layout, gradients: parts.gradients, options: options)
    }
  }

  /// The sum of floats.
  public static var floats: AggregationRecipe { AggregationRecipe(Identity()) }

  /// Creates the recipe of another aggregation, whose `rounds` describe its messages for the given tensors and number of ranks, and
  /// `memory` what it keeps; or whose messages are those of a coded all-reduce with the codec `carrier`.
  init(
    _ specification: Specification, _ capabilities: AggregationCapabilities, carrier: (any Codec)? = nil,
    rounds: @escaping @Sendable (_ layout: TensorLayout, _ rankCount: Int) throws -> [MessageRounds.Round],
    memory: @escaping @Sendable (AggregationSizes) throws -> [MemoryRow],
    make: @escaping @Sendable (AggregationParts) throws -> any Aggregation
  ) {
    (codec, self.carrier) = (nil, carrier)
    (plan, keep) = (rounds, memory)
    (self.specification, self.capabilities, self.make) = (specification.description, capabilities, make)
  }

  /// The message rounds of an exchange of these tensors on `rankCount` ranks; empty if a coded all-reduce carries it, whose traffic
  /// `ExchangeGeometry` predicts.
  ///
  /// - Throws: `SpecificationError` and `SketchError` if the aggregation does not support this number of values.
  package func rounds(_ layout: TensorLayout, rankCount: Int) throws -> [MessageRounds.Round] { try plan(layout, rankCount) }

  /// Whether exchanges become smaller at first.
  public var hasRamp: Bool { settled != nil }

  /// What it does after its ramp, under the same name.
  public func settling() throws -> AggregationRecipe {
    guard let settled else { return self }
    var recipe = try aggregations.make(settled)
    recipe.specification = specification
    return recipe
  }

  /// Makes the aggregation; collective.
  ///
  /// - Throws: `SpecificationError` and `SketchError` if it does not support this number of parameters, with the same sentence
  ///   on all ranks; `ExchangeError.noSharedMemory` if a host cannot provide the memory.
  public func callAsFunction(_ parts: AggregationParts) throws -> any Aggregation { try make(parts) }
}

/// All aggregations of `--codec`: every codec with a coded all-reduce, the sparse ones, lazy sums, those of low rank, by singular
/// values and by principal components, the choice of a leader, votes.
public let aggregations = Registry<AggregationRecipe>(
  "codec",
  codecs.entries.map(codedEntry) + sparseEntries + localTopKEntries + lazyEntries + lowRankEntries + spectralEntries
    + pcaEntries + leaderTopKEntries + voteEntries)

/// The coded all-reduce of a codec, or of differences by any but floats; or sums of integers with scales that ranks share.
private func codedEntry(_ entry: Registry<any Codec>.Entry) -> Registry<AggregationRecipe>.Entry {
  let keys = entry.name == "none" ? entry.keys : entry.keys + [AggregationRecipe.differencesKey]
  let sharedScaleKeys = SharedScaleSettings.codecNames.contains(entry.name) ? SharedScaleSettings.keys : []
  return .init(entry.name, entry.summary, values: entry.values, keys: keys + sharedScaleKeys) {
    try AggregationRecipe.sharedScales(entry, $0) ?? AggregationRecipe.coded(entry, $0)
  }
}
