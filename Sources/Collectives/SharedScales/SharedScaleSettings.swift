internal import Buffers
internal import Codecs

/// How a sum with shared scales is made, and what its messages hold: a pure function of a specification, a layout and the number of ranks.
struct SharedScaleSettings: Sendable {
  /// How owners send sums back.
  enum Sums: String, CaseIterable {
    /// As codes by the same codec, with the owner's scale and residual.
    case coded
    /// As the whole numbers that they are.
    case exact
  }

  /// Whose scale a group has.
  private enum Scales: String, CaseIterable { case own, shared }

  /// The codecs that take the keys.
  static let codecNames: Set = ["ef-sign", "terngrad", "qsgd", "uniform"]

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    ("scales", "own: each rank has its own; shared: all ranks agree on one for each group, and owners add whole numbers (own)"),
    (
      "sums",
      "with scales=shared, coded: sums come back as codes; exact: as whole numbers, with more bits and no further loss (coded)"
    ),
  ]

  /// The full specification.
  let specification: String
  let codec: any SharedScaleCodec
  let sums: Sums

  /// Reads the keys of a specification; nil if scales are not shared.
  init?(_ codec: any Codec, _ specification: Specification) throws(SpecificationError) {
    let scales = try specification.choice("scales", default: Scales.own)
    guard scales == .shared else {
      guard specification.options["sums"] == nil else {
        throw SpecificationError("'\(specification)': sums goes with scales=shared")
      }
      return nil
    }
    guard let codec = codec as? any SharedScaleCodec, codec.canShareScales else {
      throw SpecificationError(
        "'\(specification)': scales=shared takes integers of equal bits on a symmetric grid, without dither")
    }
    guard specification.options[AggregationRecipe.differencesKey.name] == nil else {
      throw SpecificationError(
        "'\(specification)': scales are of gradients, not of differences; leave one of scales and ef21 out")
    }
    self.codec = codec
    sums = try specification.choice("sums", default: Sums.coded)
    self.specification = "\(codec.specification),scales=shared,sums=\(sums.rawValue)"
  }

  /// The plan of an exchange of these tensors on `rankCount` ranks.
  func plan(_ layout: TensorLayout, rankCount: Int) throws(SpecificationError) -> SharedScalePlan {
    guard codec.largestInteger * rankCount < 1 << 24 else {
      throw SpecificationError(
        "'\(specification)': sums of \(rankCount) ranks exceed 2²⁴, up to which they are exact; take fewer bits")
    }
    return SharedScalePlan(self, layout, rankCount: rankCount)
  }

  /// What an exchange keeps in memory.
  func memory(_ sizes: AggregationSizes) throws -> [MemoryRow] {
    let plan = try plan(sizes.layout, rankCount: sizes.rankCount)
    let (own, most) = (plan.codes.elements(of: sizes.rank).count, plan.longestShard)
    return [("residuals", sizes.count + own), ("sums", most), ("scales", 2 * plan.scaleCount)]
  }
}

extension AggregationRecipe {
  /// The sum with shared scales by what `entry` makes of a specification; nil if its key does not ask for it.
  static func sharedScales(_ entry: Registry<any Codec>.Entry, _ specification: Specification) throws -> AggregationRecipe? {
    guard SharedScaleSettings.keys.contains(where: { specification.options[$0.name] != nil }),
      let settings = try SharedScaleSettings(entry.make(specification), specification)
    else { return nil }
    var capabilities = AggregationCapabilities()
    (capabilities.clips, capabilities.key) = (true, "scales=shared")
    return AggregationRecipe(try Specification(settings.specification), capabilities) { layout, rankCount in
      try settings.plan(layout, rankCount: rankCount).rounds
    } memory: {
      try settings.memory($0)
    } make: {
      try SharedScaleSum(settings, parts: $0)
    }
  }
}
