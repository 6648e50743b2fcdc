internal import Buffers
internal import Codecs
internal import Transport

/// The keys common to all sparse aggregations.
let sparseKeys: [(name: String, meaning: String)] = [
  ("k", "values by which the model changes: a number or a share of all parameters, those of vectors, too (1/100)"),
  ("mask", "whether the momentum of values that were sent is cleared (true up to a k of a tenth)"),
  ("shards", "parts that values are dealt to, whatever the number of ranks (64, fewer if columns are few)"),
]

private let sketchKeys: [(name: String, meaning: String)] = [
  ("rows", "rows of the sketch, odd (5)"),
  ("columns", "columns of all shards together: a number or a share of the parameters (1/50)"),
  ("hashes", "block, which is fast, or mersenne61 (block)"),
]

/// What keys are if they are not given: all but `mask` and `shards`, which follow from the number of parameters.
private let commonDefaults = [(key: "k", text: "1/100")]
private let sketchDefaults =
  [(key: "rows", text: "5"), (key: "columns", text: "1/50"), (key: "hashes", text: "block")] + commonDefaults

/// Sparse aggregations need the whole contribution, and their memory cannot be rolled back.
private let sparse = AggregationCapabilities(result: .change)

/// The entries of the sparse aggregations.
let sparseEntries: [Registry<AggregationRecipe>.Entry] = [
  .init(
    "fetch-sgd", "Count Sketches; the owners send back the heavy values of what they accumulate (Rothchild et al. 2020)",
    keys: sketchKeys + sparseKeys + [
      (
        "recovery",
        "exact: ranks keep the errors and send exact heavy values; subtract or zero: sketches keep the errors (exact)"
      ),
      ("candidates", "exact: candidates for each value that is recovered (4)"),
      ("window", "subtract, zero: exchanges for which an error is kept, 0 for ever (0)"),
    ]
  ) { specification in
    let recovery = try specification.choice("recovery", default: RecoveryChoice.exact)
    let window = try specification.integer("window", default: 0, in: 0...64)
    let candidates = try specification.integer("candidates", default: 4, in: 1...64)
    var capabilities = sparse
    capabilities.clips = recovery != .exact
    capabilities.clipsIf = "with recovery=subtract or recovery=zero"
    let own = recovery == .exact ? [(key: "candidates", text: "4")] : [(key: "window", text: "0")]
    let full = try specification.filled(sketchDefaults + [(key: "recovery", text: recovery.rawValue)] + own)
    return AggregationRecipe(full, capabilities) { layout, rankCount in
      let (settings, code) = try sketch(full, count: layout.count)
      return recovery == .exact
        ? TwoRoundSketch.messages(settings, code, candidates: candidates, rank: 0, of: rankCount).rounds
        : FetchSGD.messages(settings, code, rank: 0, of: rankCount).rounds
    } memory: { sizes in
      let (settings, code) = try sketch(full, count: sizes.count)
      return recovery == .exact
        ? TwoRoundSketch.memory(settings, code, sizes) : FetchSGD.memory(settings, code, window: window, sizes)
    } make: { parts in
      let (settings, code) = try sketch(full, count: parts.layout.count, seed: parts.seed)
      return switch recovery {
      case .exact: try TwoRoundSketch(settings, code, candidates: candidates, selection: .top, parts: parts)
      case .subtract: try FetchSGD(settings, code, recovery: .subtract, window: window, parts: parts)
      case .zero: try FetchSGD(settings, code, recovery: .zero, window: window, parts: parts)
      }
    }
  },
  .init(
    "sketched-sgd", "Count Sketches, heavy values fetched in a second round (Ivkin et al. 2019)",
    keys: sketchKeys + sparseKeys + [("candidates", "candidates for each value that is recovered (4)")]
  ) { specification in
    let candidates = try specification.integer("candidates", default: 4, in: 1...64)
    let full = try specification.filled(sketchDefaults + [(key: "candidates", text: "4")])
    return AggregationRecipe(full, sparse) { layout, rankCount in
      let (settings, code) = try sketch(full, count: layout.count)
      return TwoRoundSketch.messages(settings, code, candidates: candidates, rank: 0, of: rankCount).rounds
    } memory: { sizes in
      let (settings, code) = try sketch(full, count: sizes.count)
      return TwoRoundSketch.memory(settings, code, sizes)
    } make: { parts in
      let (settings, code) = try sketch(full, count: parts.layout.count, seed: parts.seed)
      return try TwoRoundSketch(settings, code, candidates: candidates, selection: .heavyMix, parts: parts)
    }
  },
  .init("true-top-k", "the largest values of the exact sum; sent as floats (a reference)", keys: sparseKeys) {
    specification in
    let full = try specification.filled(commonDefaults)
    return AggregationRecipe(full, sparse) { layout, rankCount in
      TrueTopK.messages(try SparseSettings(full, count: layout.count), rank: 0, of: rankCount).rounds
    } memory: { sizes in
      TrueTopK.memory(try SparseSettings(full, count: sizes.count), sizes)
    } make: { parts in
      try TrueTopK(SparseSettings(full, count: parts.layout.count), parts: parts)
    }
  },
]

private enum RecoveryChoice: String, CaseIterable { case exact, subtract, zero }

/// The sizes and the code of a sketch of the parameters.
private func sketch(
  _ specification: Specification, count: Int, seed: UInt64 = 1
) throws -> (SparseSettings, SketchCode) {
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
    family, rows: rows, columns: columns, shards: settings.shards, seed: seed, specification: specification.description)
  return (settings, code)
}
