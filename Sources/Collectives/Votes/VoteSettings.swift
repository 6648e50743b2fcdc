internal import Buffers
internal import Codecs

/// How ranks vote, read from a specification, and what their messages hold.
struct VoteSettings: Sendable {
  /// The full specification.
  let specification: String
  let rule: VoteRule

  /// The keys of a specification, for `train list`.
  static let keys: [(name: String, meaning: String)] = [
    (
      "tie",
      "random: 1 or -1 by a bit that all ranks share; zero: 0, with 2 bits down; positive: 1, by which what is tied drifts (random)"
    ),
    ("result", "sign: of the sum of votes; mean: of all votes, with ⌈log₂(K + 1)⌉ bits down (sign)"),
    (
      "abstain",
      "true: values that are 0 have no vote, with 2 bits up and down; false: they vote 1, and drift where all are 0 (false)"
    ),
  ]

  /// Reads the keys of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    let result = try specification.choice("result", default: VoteRule.Result.sign)
    if result == .mean, specification.options["tie"] != nil {
      throw SpecificationError("'\(specification)': a mean has no ties; leave one of result=mean and tie out")
    }
    rule = VoteRule(
      tie: try specification.choice("tie", default: VoteRule.Tie.random), result: result,
      abstains: try specification.flag("abstain", default: false))
    let tie = result == .mean ? "" : "tie=\(rule.tie.rawValue),"
    self.specification = "majority-vote:\(tie)result=\(result.rawValue),abstain=\(rule.abstains)"
  }

  /// The values of each owner: all but the last begin and end with whole words of votes.
  static func shards(_ count: Int, _ rankCount: Int) -> [Range<Int>] {
    Partition(count: VoteRule.wordCount(of: count), into: rankCount).ranges.map {
      min(32 * $0.lowerBound, count)..<min(32 * $0.upperBound, count)
    }
  }

  /// The messages of an exchange: ballots to owners, and their results to all.
  func rounds(count: Int, rankCount: Int) -> [MessageRounds.Round] {
    let words = VoteSettings.shards(count, rankCount).map { VoteRule.wordCount(of: $0.count) }
    let ballots = words.map { rule.ballotPlanes * $0 }
    return [
      .scattered("votes", words.map { _ in ballots }),
      .gathered("their results", words.map { rule.resultPlanes(rankCount) * $0 }, lengths: .full),
    ]
  }

  /// What an exchange keeps in memory.
  func memory(_ sizes: AggregationSizes) -> [MemoryRow] {
    let own = sizes.rankCount == 1 ? MajorityVote.mostPlanes * VoteRule.wordCount(of: sizes.count) : 0
    return [("votes", min(sizes.count, MajorityVote.blockCount) + own)]
  }
}

/// The entry of votes.
let voteEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "majority-vote", "one bit per value and no residual: the signs on which most ranks agree (signSGD, Bernstein et al. 2019)",
    keys: VoteSettings.keys
  ) { specification in
    let settings = try VoteSettings(specification)
    var capabilities = AggregationCapabilities()
    (capabilities.votes, capabilities.hasTrials, capabilities.needsGradients) = (true, true, true)
    return AggregationRecipe(try Specification(settings.specification), capabilities) { layout, rankCount in
      settings.rounds(count: layout.count, rankCount: rankCount)
    } memory: {
      settings.memory($0)
    } make: {
      try MajorityVote(settings, parts: $0)
    }
  }
]
