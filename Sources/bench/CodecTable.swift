internal import Buffers
internal import Codecs
internal import Files
internal import Kernels
internal import Reporting
#if canImport(Glibc)
  internal import Glibc
#endif

/// What every codec makes of a gradient: bytes, error and speed, in one thread.
struct CodecTable {
  /// A gradient and what it is called.
  struct Input {
    let name: String
    let shape: [Int]
    let values: FloatBuffer
  }

  /// One codec on one gradient.
  private struct Row {
    let name: String
    let bitsPerValue: Double
    /// ‖arrived − gradient‖² over ‖gradient‖²; nil for a gradient of zeros, or if a group was refused.
    let error: Double?
  }

  let codecs: [any Codec]
  let inputs: [Input]

  /// The codecs of the list, in the forms that differ in bytes.
  static let specifications =
    Codecs.codecs.entries.map(\.name) + [
      "multi-bit:bits=2,range=2", "multi-bit:bits=8", "chunk-top-k:values=two", "chunk-top-k:k=1/8", "terngrad:clip=0",
      "qsgd:levels=1,norm=l2",
      "qsgd:levels=1,norm=l2,code=elias", "qsgd:levels=23,code=elias", "qsgd:levels=127", "nuqsgd:levels=20,norm=l2",
      "uniform:bits=2", "uniform:bits=4", "uniform:bits=4,rounding=stochastic", "uniform:bits=4,rounding=dither",
      "uniform:bits=4,range=min-max", "uniform:bits=16", "e3m0:rounding=stochastic", "bf16:rounding=stochastic",
    ]

  /// Gradients of every kind, of `count` values each: magnitudes over many decades, a single value, equal ones, none, and both ends of
  /// fp32.
  static func kinds(count: Int, row: Int) -> [Input] {
    let random = Philox(seed: 1, purpose: .tests)
    // Twelve numbers add up to one that is nearly normal.
    func normal(_ index: Int) -> Float { (0..<12).reduce(-6) { $0 + random.uniform(index, tensor: $1) } }
    func sign(_ index: Int) -> Float { random.uniform(index, tensor: 12) < 0.5 ? -1 : 1 }
    let kinds: [(String, (Int) -> Float)] = [
      ("lognormal", { sign($0) * exp(2 * normal($0)) * 1e-3 }), ("normal", { normal($0) * 1e-3 }),
      ("one-hot", { $0 % row == row / 2 ? -0.5 : 0 }), ("constant", { _ in 0.25 }), ("zero", { _ in 0 }),
      ("denormal", { normal($0) * (.leastNormalMagnitude / 128) }), ("huge", { normal($0) * 1e37 }),
    ]
    return kinds.map { name, value in
      let values = FloatBuffer(count: count)
      for index in 0..<count { values[index] = value(index) }
      return Input(name: name, shape: [count / row, row], values: values)
    }
  }

  /// Prints the table, and draws errors against bits for the first gradient.
  ///
  /// - Returns: The number of values of which decoded + remainder is not the gradient, over codecs that keep a remainder.
  func run(iterations: Int, output: OutputOptions, plot: FileDestination?) throws -> Int {
    let table = Table("codecs", CodecTable.columns, options: output, isOnStandardError: plot?.isStandardOutput ?? false)
    var (wrong, curves): (Int, [(family: String, point: (x: Double, y: Double))]) = (0, [])
    for (place, input) in inputs.enumerated() {
      for codec in codecs {
        let (row, faults) = measure(codec, on: input, iterations: iterations, into: table)
        wrong += faults
        if place == 0, let error = row.error, error > 0 { curves.append((row.name, (row.bitsPerValue, error))) }
      }
    }
    guard let plot else { return wrong }
    let families = curves.reduce(into: [String]()) { if !$0.contains($1.family) { $0.append($1.family) } }
    let series = families.map { family in
      SVGPlot.Series(family, curves.filter { $0.family == family }.map(\.point).sorted { $0.x < $1.x })
    }
    try SVGPlot(
      title: "Codecs on \(inputs[0].name)", x: .init("bits per value", .logarithmic(base: 2)),
      y: .init("‖arrived − gradient‖² / ‖gradient‖²", .logarithmic(base: 10)), series: series
    ).write(to: plot)
    return wrong
  }

  private func measure(_ codec: any Codec, on input: Input, iterations: Int, into table: Table) -> (Row, Int) {
    let count = input.values.count
    let groups = codec.grouping.groups(of: TensorLayout([("gradient", input.shape)]))
    let code = ByteBuffer(count: groups.reduce(0) { $0 + codec.encodedByteCount(of: $1.count) })
    let (residual, arrived) = (FloatBuffer(count: count), FloatBuffer(count: count))
    let coder = GroupCoder(codec, residual: residual)
    var byteCount = 0
    func encode() {
      byteCount = 0
      for (number, group) in groups.enumerated() {
        byteCount += coder.encode(
          input.values.baseAddress + group.lowerBound, at: group.lowerBound, count: group.count,
          into: code.baseAddress + byteCount,
          context: EncodingContext(group: number))
      }
    }
    func decode() {
      var end = 0
      for group in groups {
        end += coder.decode(
          code.baseAddress + end, count: group.count, setting: arrived.baseAddress + group.lowerBound,
          streaming: count > 1 << 19)
      }
      finishStreaming()
    }
    encode()
    let refused = coder.nonFiniteGroups
    decode()
    var (lost, wrong) = (0.0, 0)
    for i in 0..<count {
      let (v, y) = (input.values[i] + 0.0, arrived[i])
      let difference = Double(y) - Double(v)
      lost += difference * difference
      guard codec.keepsRemainder, refused == 0, !codec.isIdentity else { continue }
      let largest = max(v.magnitude, y.magnitude, residual[i].magnitude)
      wrong += (difference + Double(residual[i])).magnitude > Double(largest.ulp) / 2 ? 1 : 0
    }
    let energy = sumOfSquares(input.values.baseAddress, count: count)
    let row = Row(
      name: codec.name, bitsPerValue: 8 * Double(byteCount) / Double(max(count, 1)),
      error: energy > 0 && refused == 0 ? lost / energy : nil)
    var (encoding, decoding): ([Double], [Double]) = ([], [])
    for _ in 0..<iterations {
      residual.clear()
      encoding.append(seconds(encode))
      decoding.append(seconds(decode))
    }
    table.row([
      .text(codec.specification), .text(input.name), .text(CodecTable.kind(of: codec)), .integer(byteCount),
      .number(row.bitsPerValue), row.error.map(Cell.number) ?? .nothing, .integer(refused),
      .number(Double(count) / encoding.percentile()), .number(Double(count) / decoding.percentile()), .integer(wrong),
    ])
    return (row, wrong)
  }

  /// What can be said of all gradients.
  private static func kind(of codec: any Codec) -> String {
    codec.isIdentity ? "exact" : codec.isUnbiased ? "unbiased" : codec.keepsRemainder ? "feedback" : "biased"
  }

  private static let columns = [
    Column("codec", "codec"), Column("input", "gradient"), Column("kind", "kind"), Column("bytes", "bytes", .integer),
    Column("bitsPerValue", "bits/value", .decimal(3)), Column("error", "squared error", .decimal(6)),
    Column("refusedGroups", "refused", .integer), Column("encodedPerSecond", "encode 10⁹/s", .decimal(3, scale: 1e-9)),
    Column("decodedPerSecond", "decode 10⁹/s", .decimal(3, scale: 1e-9)), Column("wrong", "wrong", .integer),
  ]
}
