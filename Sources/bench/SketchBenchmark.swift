internal import Buffers
internal import Codecs

/// What `bench codecs` measures besides the codecs: a Count Sketch of a gradient, or the selection of its largest values.
struct SketchBenchmark {
  /// The specification as given.
  let specification: String
  private let rows: Int
  private let columns: Amount
  private let k: Amount
  private let family: SketchHashes.Family?

  /// The values of `--codec` besides the codecs.
  static let all = Registry<SketchBenchmark>(
    "codec",
    [
      Registry.Entry(
        "count-sketch", "a Count Sketch, and its k largest estimates",
        keys: [
          ("rows", "rows, odd (5)"), ("columns", "columns: a number, or a share of the values (1/20)"),
          ("k", "how many estimates are chosen: a number, or a share of the values (1/100)"),
          ("hashes", "the family of hash functions: 'block' or 'mersenne61' (block)"),
        ]
      ) { specification in
        let name = specification.options["hashes"] ?? "block"
        guard let family = SketchHashes.Family(rawValue: name) else {
          throw SpecificationError(
            unknown("'\(specification)': unknown hashes", name, known: SketchHashes.Family.allCases.map(\.rawValue)))
        }
        return SketchBenchmark(
          specification: specification.description,
          rows: try specification.integer("rows", default: 5, in: 1...SketchHashes.mostRows),
          columns: try amount("columns", specification, default: "1/20"),
          k: try amount("k", specification, default: "1/100"), family: family)
      },
      Registry.Entry(
        "top-k", "the k values of largest magnitude",
        keys: [("k", "how many are chosen: a number, or a share of the values (1/100)")]
      ) { specification in
        SketchBenchmark(
          specification: specification.description, rows: 1, columns: Amount(1),
          k: try amount("k", specification, default: "1/100"), family: nil)
      },
    ])

  private static func amount(_ key: String, _ specification: Specification, default standard: String) throws -> Amount {
    let text = specification.options[key] ?? standard
    guard let amount = Amount(text) else {
      throw SpecificationError("'\(specification)': \(key) is a whole number or a share such as 1/20 or 0.05, not '\(text)'")
    }
    return amount
  }

  /// Adds a row to the table for each operation; returns the number of wrong values.
  func measure(count: Int, iterations: Int, into table: Table) throws -> Int {
    let sizes = try SketchSizes(rows: rows, columns: columns, k: k, of: count)
    let (gradient, values) = (FloatBuffer(count: count), FloatBuffer(count: count))
    gradient.fillWithNoise()
    var wrong = 0

    func row(_ operation: String, bytesPerValue: Double, bitsPerValue: Double, wrong found: Int, _ body: () -> Void) {
      var (rates, fractions, limits): ([Double], [Double], [Double]) = ([], [], [])
      for iteration in 0...iterations {
        let mine = secondsPerCall(count) { seconds(body) } / Double(count)
        let update = secondsPerCall(count) { MemoryBandwidth(values: values, other: gradient).update() }
        // The first pair warms up.
        guard iteration > 0 else { continue }
        rates.append(1 / mine)
        limits.append(MemoryBandwidth.updateBytes * Double(count) / update)
        fractions.append(bytesPerValue / mine / limits.last!)
      }
      wrong += found
      table.row([
        .text(specification), .text(operation), .integer(count), .nothing, .number(rates.percentile()),
        .number(rates.percentile() * bytesPerValue / 1e9), .number(limits.percentile() / 1e9),
        .number(fractions.percentile()), .number(bitsPerValue), .integer(found),
      ])
    }

    let code = SparseCode(count: count)
    func bits(of vector: SparseVector) -> Double {
      let room = ByteBuffer(count: code.mostBytes(k: vector.count))
      return 8 * Double(code.encode(vector, into: room.baseAddress)) / Double(count)
    }

    guard let family else {
      let chosen = largestMagnitudes(gradient.baseAddress, count: count, k: sizes.k)
      row(
        "top-k", bytesPerValue: 4, bitsPerValue: bits(of: chosen), wrong: wrongChoices(chosen, of: gradient, k: sizes.k)
      ) { _ = largestMagnitudes(gradient.baseAddress, count: count, k: sizes.k) }
      return wrong
    }

    let sketch = CountSketch<Float>(try SketchHashes(family, rows: rows, columns: sizes.columns, seed: 1))
    let tableBits = 32 * Double(rows * sizes.columns) / Double(count)
    sketch.insert(gradient.baseAddress, count: count)
    let wrongCells = wrongCells(of: sketch, gradient)
    sketch.estimate(values.baseAddress, count: count)
    let wrongEstimates = wrongEstimates(of: sketch, values)
    let chosen = sketch.largestEstimates(sizes.k, of: count)
    let wrongChoices = wrongChoices(chosen, of: values, k: sizes.k)
    row("query", bytesPerValue: Double(4 + 4 * rows), bitsPerValue: tableBits, wrong: wrongEstimates) {
      sketch.estimate(values.baseAddress, count: count)
    }
    row("query-top-k", bytesPerValue: Double(4 * rows), bitsPerValue: bits(of: chosen), wrong: wrongChoices) {
      _ = sketch.largestEstimates(sizes.k, of: count)
    }
    // Last, because each call changes the table.
    row("insert", bytesPerValue: Double(4 + 8 * rows), bitsPerValue: tableBits, wrong: wrongCells) {
      sketch.insert(gradient.baseAddress, count: count)
    }
    return wrong
  }

  /// The number of cells that differ from integer sums: the values are multiples of 2⁻¹², so that their sums are exact.
  private func wrongCells(of sketch: CountSketch<Float>, _ gradient: FloatBuffer) -> Int {
    let exact = CountSketch<Int64>(sketch.hashes)
    let step = 1 << 16
    for start in stride(from: 0, to: gradient.count, by: step) {
      let piece = (start..<min(start + step, gradient.count)).map { Int64(gradient.baseAddress[$0] * 0x1p12) }
      exact.insert(piece, count: piece.count, at: start)
    }
    return withExtendedLifetime((sketch, exact)) {
      zip(sketch.table, exact.table).count { Double($0) * 0x1p12 != Double($1) }
    }
  }

  /// The number of estimates that differ from those computed one by one, among 65 536 that are checked.
  private func wrongEstimates(of sketch: CountSketch<Float>, _ estimates: FloatBuffer) -> Int {
    stride(from: 0, to: estimates.count, by: max(1, estimates.count >> 16 | 1)).count {
      sketch.estimate(at: $0).bitPattern != estimates.baseAddress[$0].bitPattern
    }
  }

  /// The number of chosen values that are not the k largest, by counting those that come before the last of them.
  private func wrongChoices(_ chosen: SparseVector, of values: FloatBuffer, k: Int) -> Int {
    let keys = chosen.values.map { MagnitudeThreshold.key(of: $0) }
    let least = keys.min() ?? 0
    let last = keys.lastIndex(of: least).map { chosen.indices[$0] } ?? 0
    var (before, nonzero) = (0, 0)
    for i in 0..<values.count {
      let key = MagnitudeThreshold.key(of: values.baseAddress[i])
      before += key > least || key == least && i <= Int(last) ? 1 : 0
      nonzero += key > 0 ? 1 : 0
    }
    let foreign = zip(chosen.indices, chosen.values).count { values.baseAddress[Int($0)].bitPattern != $1.bitPattern }
    let expected = min(k, nonzero)
    return foreign + abs(chosen.count - expected) + (expected == 0 ? 0 : abs(before - expected))
  }
}
