internal import Buffers
internal import Codecs

/// What a specification of `top-k` or `dgc` says.
struct LocalTopKSettings {
  let sparse: SparseSettings
  let feedback: LocalTopK.Feedback
  let ramp: Ramp
  /// θ, the largest norm of a step's gradient; nil for any.
  let clip: Double?

  /// The longest ramp.
  private static let longest = 1 << 30

  init(_ specification: Specification, count: Int) throws {
    sparse = try SparseSettings(specification, count: count)
    feedback = try specification.choice("feedback", default: .rank)
    ramp = Ramp(of: count, to: sparse.total, over: try Self.ramp(specification))
    clip = try Self.clip(specification)
  }

  /// T of a specification.
  static func ramp(_ specification: Specification) throws(SpecificationError) -> Int {
    try specification.integer("ramp", default: 0, in: 0...longest)
  }

  /// θ of a specification.
  static func clip(_ specification: Specification) throws(SpecificationError) -> Double? {
    guard let text = specification.options["clip"], text != "none" else { return nil }
    return try specification.number("clip", default: 1, in: 1e-30...1e30)
  }

  /// The keys besides those of all sparse aggregations, with the ramp that is taken if none is given.
  static func keys(ramp: Int) -> [(name: String, meaning: String)] {
    [
      ("ramp", "exchanges in which k falls from a quarter of all values, by factors of 4 (\(ramp))"),
      ("clip", "θ: the gradient of each of K ranks is scaled down to a norm of θ/√K; none for no limit (none)"),
    ]
  }

  /// The specification in full, with what follows from the number of parameters left out.
  static func full(
    _ specification: Specification, _ defaults: [(key: String, text: String)]
  ) throws(SpecificationError) -> Specification {
    _ = (try ramp(specification), try clip(specification))
    return try specification.filled(defaults)
  }

  /// The recipe of a full specification; what it settles on is without a ramp.
  static func recipe(_ full: Specification) throws -> AggregationRecipe {
    var recipe = AggregationRecipe(full, AggregationCapabilities(result: .change)) { layout, rankCount in
      let settings = try LocalTopKSettings(full, count: layout.count)
      return LocalTopK.messages(settings.sparse, of: settings.ramp.counts[0], rank: 0, of: rankCount).rounds
    } memory: {
      [RankMemory.memory($0)]
    } make: { parts in
      try LocalTopK(LocalTopKSettings(full, count: parts.layout.count), parts: parts)
    }
    if try ramp(full) > 0 { recipe.settled = try full.replacing("ramp", by: "0").description }
    return recipe
  }
}

/// The entries of the largest values of each rank.
let localTopKEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "top-k", "each rank's largest values, with error feedback (Lin et al. 2018)",
    keys: sparseKeys + [("feedback", "rank: what was not sent comes later; none: it is lost (rank)")]
      + LocalTopKSettings.keys(ramp: 0)
  ) { specification in
    let feedback = try specification.choice("feedback", default: LocalTopK.Feedback.rank)
    let defaults = [(key: "k", text: "1/100"), (key: "feedback", text: feedback.rawValue)]
    return try LocalTopKSettings.recipe(LocalTopKSettings.full(specification, defaults))
  },
  .init(
    "dgc", "deep gradient compression: top-k with fewer and fewer values at first, and masked momentum (Lin et al. 2018)",
    keys: [
      ("k", "values by which each rank changes the model in the end: a number or a share of all parameters (1/1000)"),
      ("mask", "whether the momentum of values that were sent is cleared (true)"),
    ] + sparseKeys.filter { $0.name == "shards" }
      + LocalTopKSettings.keys(ramp: 200)
  ) { specification in
    let defaults = [(key: "k", text: "1/1000"), (key: "mask", text: "true"), (key: "ramp", text: "200")]
    return try LocalTopKSettings.recipe(LocalTopKSettings.full(specification, defaults))
  },
]
