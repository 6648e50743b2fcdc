internal import Buffers
internal import Codecs

/// Which gradients a rank uploads, read from a specification.
struct LazySettings: Sendable {
  /// What decides whether a rank uploads.
  enum Rule: String, CaseIterable {
    /// How far its gradient is from the one uploaded last (LAG-WK; with a grid LAQ).
    case worker
    /// How far the model is from where it was then, times the smoothness of the rank's loss (LAG-PS).
    case server
    /// How far its gradient is from that of the same minibatch at the model of its last upload (LASG-WK2).
    case sameMinibatch = "same-minibatch"
  }

  /// The full specification.
  let specification: String
  let rule: Rule
  /// D: the steps whose changes of the model a gradient is compared with.
  let depth: Int
  /// ξ: the weight of each.
  let weight: Double
  /// The first exchanges, in which all upload.
  let forcedCount: Int
  /// The most exchanges in a row to which a rank does not upload.
  let longestSilence: Int
  /// The grid of uploads; nil for floats.
  let grid: DifferenceGrid?
  /// The smoothness of the ranks' losses, one for each rank or one for all; nil if each rank estimates its own.
  let smoothness: [Double]?

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    (
      "rule",
      "worker: upload what has changed since the last upload (LAG-WK, with bits LAQ); server: when the model has moved far (LAG-PS); "
        + "same-minibatch: worker, by a second gradient at the old model, for minibatches (worker)"
    ),
    ("depth", "D: the steps whose changes of the model say what is worth an upload (10)"),
    ("xi", "ξ: the weight of each; 0 uploads whatever has changed (1/D, and 10/D with smoothness)"),
    ("start", "exchanges at the start in which all upload (D)"),
    ("max-silence", "the most exchanges in a row without an upload of a rank (100)"),
    ("bits", "rule=worker: bits of a value, 1 to 16, as differences on a grid (floats)"),
    ("smoothness", "rule=server: of the ranks' losses, such as 4, or 1+4+9 for three ranks (each rank estimates its own)"),
  ]

  /// Reads the keys of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    let rule = try specification.choice("rule", default: Rule.worker)
    self.rule = rule
    // An estimate from changes of the gradient is as sharp as these; a bound is not.
    let knowsSmoothness = specification.options["smoothness"] != nil
    depth = try specification.integer("depth", default: 10, in: 1...10_000)
    weight = try specification.number("xi", default: (knowsSmoothness ? 10 : 1) / Double(depth), in: 0...1e9)
    forcedCount = try specification.integer("start", default: depth, in: 1...1_000_000_000)
    longestSilence = try specification.integer("max-silence", default: 100, in: 0...1_000_000_000)
    let bits = specification.options["bits"] == nil ? nil : try specification.integer("bits", default: 4, in: 1...16)
    grid = bits.map { DifferenceGrid(bits: $0) }
    self.specification = try specification.filled([
      ("rule", rule.rawValue), ("depth", "\(depth)"), ("xi", "\(weight)"), ("start", "\(forcedCount)"),
      ("max-silence", "\(longestSilence)"),
    ]).description
    guard bits == nil || rule == .worker else {
      throw SpecificationError("'\(specification)': bits goes with rule=worker alone; the other rules upload floats")
    }
    guard let text = specification.options["smoothness"] else {
      smoothness = nil
      return
    }
    let numbers = text.split(separator: "+", omittingEmptySubsequences: false).map { Double($0) }
    guard rule == .server else {
      throw SpecificationError("'\(specification)': smoothness goes with rule=server alone; the other rules do not need it")
    }
    guard numbers.allSatisfy({ $0.map { $0 > 0 && $0.isFinite } ?? false }) else {
      throw SpecificationError(
        "'\(specification)': smoothness is a number above 0, or one for each rank such as 1+4+9, not '\(text)'")
    }
    smoothness = numbers.compactMap { $0 }
  }

  /// The smoothness of the loss of `rank` of `rankCount`; nil if it is estimated.
  ///
  /// - Throws: A sentence if the specification has another number of them.
  func smoothness(of rank: Int, among rankCount: Int) throws(SpecificationError) -> Double? {
    guard let smoothness else { return nil }
    guard smoothness.count == 1 || smoothness.count == rankCount else {
      throw SpecificationError(
        "'\(specification)': smoothness has \(smoothness.count) numbers for \(rankCount) ranks; give one, or one for each")
    }
    return smoothness[smoothness.count == 1 ? 0 : rank]
  }

  /// The floats of a message of `count` values.
  func floatCount(of count: Int) -> Int { grid?.floatCount(of: count) ?? count }

  /// The shards of `count` values, one for each of `rankCount` ranks.
  static func shards(_ count: Int, _ rankCount: Int) -> [Range<Int>] { Partition(count: count, into: rankCount).ranges }

  /// The messages of an exchange: uploads, of which some ranks have none, and the sums, if there was any.
  func rounds(count: Int, rankCount: Int) -> [MessageRounds.Round] {
    let shards = LazySettings.shards(count, rankCount)
    let uploads = shards.map { floatCount(of: $0.count) }
    return [
      .scattered("uploads", shards.map { _ in uploads }, lengths: .fullOrNone),
      .gathered("sums", shards.map(\.count), lengths: .known),
    ]
  }

  /// What a rank keeps: the last upload, those of all ranks for its shard, their sum, the model before the last step, and with
  /// rules that need them the model of the last upload and a second gradient.
  func memory(_ sizes: AggregationSizes) -> [MemoryRow] {
    guard sizes.rankCount > 1 else { return [] }
    let shard = LazySettings.shards(sizes.count, sizes.rankCount)[sizes.rank].count
    let models = [Rule.worker: 1, .server: 2, .sameMinibatch: 3][rule] ?? 1
    return [
      ("uploads of ranks", 2 * sizes.count + sizes.rankCount * shard), ("models of uploads", models * sizes.count),
    ]
  }
}
