internal import Buffers
internal import Codecs

extension AggregationRecipe {
  /// The key with which a code is one of differences.
  static let differencesKey = (
    name: "ef21",
    meaning:
      "EF21 with momentum: codes are of what has changed of a rank's mean of gradients, in which a new one counts so much, above 0 "
      + "to 1; with --momentum 0 (gradients are coded)"
  )

  /// Creates the recipe of sums of differences.
  ///
  /// - Parameters:
  ///   - codec: The code, one that loses nothing for good.
  ///   - share: a: what a new gradient counts in a rank's mean.
  init(differencesBy codec: any Codec, share: Float) throws {
    let text = codec.specification + (codec.specification.contains(":") ? "," : ":") + "ef21=\(share)"
    var capabilities = AggregationCapabilities.all
    (capabilities.transformsAtOwners, capabilities.hasTrials, capabilities.needsGradients) = (false, false, true)
    self.init(try Specification(text), capabilities, carrier: codec) { _, _ in
      []
    } memory: { sizes in
      let shard = sizes.rankCount == 1 ? 0 : sizes.count + sizes.count / sizes.rankCount
      return [("residuals", shard), ("mean and sum of gradients", 2 * sizes.count)]
    } make: {
      try DifferenceSum(text, codec, share: share, parts: $0)
    }
  }

  /// The coded all-reduce of what `entry` makes of a specification, or the sums of differences if that is what its key asks for.
  static func coded(_ entry: Registry<any Codec>.Entry, _ specification: Specification) throws -> AggregationRecipe {
    let codec = try entry.make(specification)
    guard specification.options[differencesKey.name] != nil else { return AggregationRecipe(codec) }
    let share = try specification.number(differencesKey.name, default: 1, in: 0.001...1)
    guard codec.losesNothing else {
      throw SpecificationError(
        "'\(specification)': ef21 adds up what arrives, and takes a code that sends later what it does not send now")
    }
    return try AggregationRecipe(differencesBy: codec, share: Float(share))
  }
}
