internal import Buffers
internal import Codecs
internal import Collectives
internal import Networks

/// Keys that all sparse strategies have.
private let commonKeys: [(name: String, meaning: String)] = [
  ("k", "values by which the model changes: a number or a share of the parameters (1/100)"),
  ("mask", "whether momentum is forgotten where something was sent (true up to a k of a tenth)"),
  ("shards", "parts that values are dealt to, whatever the number of ranks (64, fewer where columns are few)"),
]

private let sketchKeys: [(name: String, meaning: String)] = [
  ("rows", "rows of the sketch, odd (5)"),
  ("columns", "columns of all shards together: a number or a share of the parameters (1/50)"),
  ("hashes", "block, which is fast, or mersenne61 (block)"),
]

/// What the exchange of few values is made from.
struct SparseParts {
  /// The ranks that exchange gradients.
  var hosts: HostMap
  /// The parameters' number.
  var count: Int
  /// The options of the run, of which momentum, clip and seed count.
  var options: TrainerOptions
}

/// The strategies that encode gradients in their own way, with momentum and error feedback of their own.
let sparseStrategies = sparseExchanges.entries.map { exchange in
  Registry<@Sendable (StrategyParts) throws -> any Strategy>.Entry(
    exchange.name, exchange.summary, values: exchange.values, keys: exchange.keys
  ) { specification in
    let make = try exchange.make(specification)
    return { parts in
      let sparse = SparseParts(hosts: parts.hosts, count: parts.network.layout.count, options: parts.options)
      return SparseDescent(parts, try make(sparse))
    }
  }
}

/// What they exchange.
let sparseExchanges = Registry<@Sendable (SparseParts) throws -> any SparseAggregation>(
  "strategy",
  [
    .init(
      "fetch-sgd", "gradients as Count Sketches; the heavy values of what owners remember come back (Rothchild et al. 2020)",
      keys: sketchKeys + commonKeys + [
        ("recovery", "exact: ranks remember, and tell heavy values exactly; subtract or zero: sketches remember (exact)"),
        ("candidates", "exact: candidates for each value that is recovered (4)"),
        ("window", "subtract, zero: exchanges that an error lasts, 0 for ever (0)"),
      ]
    ) { specification in
      { parts in
        let (settings, code) = try sketch(specification, parts)
        let recovery = try specification.choice("recovery", default: RecoveryChoice.exact)
        let window = try specification.integer("window", default: 0, in: 0...64)
        let candidates = try specification.integer("candidates", default: 4, in: 1...64)
        return switch recovery {
        case .exact: try TwoRoundSketch(settings, code, candidates: candidates, selection: .top, parts: parts)
        case .subtract: try FetchSGD(settings, code, recovery: .subtract, window: window, parts: parts)
        case .zero: try FetchSGD(settings, code, recovery: .zero, window: window, parts: parts)
        }
      }
    },
    .init(
      "sketched-sgd", "gradients as Count Sketches, heavy values fetched in a second round (Ivkin et al. 2019)",
      keys: sketchKeys + commonKeys + [("candidates", "candidates for each value that is recovered (4)")]
    ) { specification in
      { parts in
        let (settings, code) = try sketch(specification, parts)
        let candidates = try specification.integer("candidates", default: 4, in: 1...64)
        return try TwoRoundSketch(settings, code, candidates: candidates, selection: .heavyMix, parts: parts)
      }
    },
    .init("true-top-k", "the largest values of the exact sum; floats on the way there (a yardstick)", keys: commonKeys) {
      specification in
      { parts in
        let settings = try SparseSettings(specification, count: parts.count)
        return try TrueTopK(settings, parts: parts)
      }
    },
    .init(
      "local-top-k", "each rank's largest values, with error feedback (Lin et al. 2018)",
      keys: commonKeys + [("feedback", "rank: what was not sent comes later; none: it is lost (rank)")]
    ) { specification in
      { parts in
        let settings = try SparseSettings(specification, count: parts.count)
        let feedback = try specification.choice("feedback", default: LocalTopK.Feedback.rank)
        return try LocalTopK(settings, feedback: feedback, parts: parts)
      }
    },
  ])

private enum RecoveryChoice: String, CaseIterable {
  case exact
  case subtract
  case zero
}

/// The sizes and the code of a sketch of the parameters.
private func sketch(_ specification: Specification, _ parts: SparseParts) throws -> (SparseSettings, SketchCode) {
  let count = parts.count
  let columns = try specification.amount("columns", default: "1/50").count(of: count)
  let rows = try specification.integer("rows", default: 5, in: 1...SketchHashes.mostRows)
  guard rows % 2 == 1 else {
    throw SpecificationError("'\(specification)': rows is an odd number, not \(rows): what is estimated is a median")
  }
  guard columns <= count else {
    throw SpecificationError(
      "'\(specification)': a sketch of \(columns) columns is larger than the \(count) parameters; ask for fewer")
  }
  let family = try specification.choice("hashes", default: SketchHashes.Family.block)
  let settings = try SparseSettings(specification, count: count, columns: columns)
  let code = try SketchCode(
    family, rows: rows, columns: columns, shards: settings.shards, seed: parts.options.seed,
    specification: specification.description)
  return (settings, code)
}
