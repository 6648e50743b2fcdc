internal import ArgumentParser
internal import Buffers
internal import Codecs
internal import Files

struct CodecsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "codecs", abstract: "Encode and decode: values/s, GB/s and the fraction of the memory limit.",
    discussion: """
      Each operation is measured in pairs with the update loop (a = a + b, 12 bytes a value) on the same buffers; the \
      fraction is the median of the pairs' ratios. One thread, GB = 10⁹ bytes. Bytes a value: encode 12 and the code, \
      decode-set 4 and the code, decode-add 8 and the code, decode-sum 4 and eight codes.

      --codec also takes count-sketch:rows=5,columns=1/20,k=1/100,hashes=block (insert, query, and query with the choice of \
      the k largest estimates; r rows: 4 + 8r, 4 + 4r and 4r bytes a value) and top-k:k=1/100 (4 bytes a value). Columns and k \
      are numbers or shares of the values. Without --codec there are rows for both.

      With --input, a codec is applied to your own gradient: decoded + remainder = gradient + residual. Groups follow the \
      array's shape; a row is what belongs to one index of the first axis. With --ranks, the gradients of that many ranks (g-%d.npy: \
      %d is the rank) are exchanged in this process: what arrives has the bits of an exchange of real ranks.

      With --all, every codec is applied once to your gradient, or to gradients of every kind: bytes, ‖arrived − gradient‖² over \
      ‖gradient‖², values/s, and whether it is right on average (unbiased), sends what is lost later (feedback) or neither (biased). \
      --codec then chooses among them.
      """)

  @Option(help: "A codec; give the option again for more (default: one-bit, count-sketch and top-k).")
  var codec: [String] = []
  @Option(help: "Values of the gradient (default: 65536 and 67108864; 16777216 for sketches).")
  var count: [Int] = []
  @Option(help: "Values of a row of the gradient (default: 1024).")
  var row: [Int] = []
  @Option(help: "Pairs of measurements.")
  var iterations = 9
  @Option(help: ArgumentHelp("A gradient: fp32 or fp64 as NumPy saves it.", valueName: "G.npy"))
  var input: String?
  @Option(help: ArgumentHelp("The residual before (default: zeros).", valueName: "R.npy"))
  var residual: String?
  @Option(help: ArgumentHelp("Where the decoded gradient goes.", valueName: "D.npy"))
  var decoded: String?
  @Option(help: ArgumentHelp("Where the residual after goes.", valueName: "E.npy"))
  var remainder: String?
  @Option(help: "Ranks whose exchange is simulated, each with its gradient: 'g-%d.npy'.")
  var ranks: Int?
  @Flag(help: "Compare all codecs on a gradient.")
  var all = false
  @Option(help: ArgumentHelp("With --all, where a plot of errors against bits goes.", valueName: "FILE.svg"))
  var svg: String?
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard all || svg == nil else { throw ValidationError("--svg goes with --all") }
    guard iterations > 0, count.allSatisfy({ $0 > 0 }), row.allSatisfy({ $0 > 0 }) else {
      throw ValidationError("--count, --row and --iterations take positive numbers")
    }
    if let ranks {
      guard ranks > 0, let input, !all else { throw ValidationError("--ranks takes a positive number, and goes with --input") }
      guard residual == nil, remainder == nil else {
        throw ValidationError("--residual and --remainder are of one rank; they do not go with --ranks")
      }
      let inputs = (0..<ranks).map { ("input", Optional(input.replacing("%d", with: "\($0)"))) }
      let faults = FileConflicts.faults(outputs: [("decoded", decoded)], inputs: inputs)
      guard faults.isEmpty else { throw ValidationError(faults.joined(separator: "\n")) }
    }
    if all {
      guard residual == nil, decoded == nil, remainder == nil else {
        throw ValidationError("--residual, --decoded and --remainder do not go with --all")
      }
      guard count.count <= 1, row.count <= 1, input == nil || count.isEmpty && row.isEmpty else {
        throw ValidationError("--all takes one --count and one --row, or --input")
      }
      let faults = FileConflicts.faults(outputs: [("svg", svg)], inputs: [("input", input)])
      guard faults.isEmpty else { throw ValidationError(faults.joined(separator: "\n")) }
    } else if input == nil {
      guard residual == nil, decoded == nil, remainder == nil else {
        throw ValidationError("--residual, --decoded and --remainder go with --input")
      }
    } else {
      guard codec.count <= 1 else { throw ValidationError("--input takes one --codec") }
      guard count.isEmpty, row.isEmpty else { throw ValidationError("--count and --row do not go with --input") }
      let faults = FileConflicts.faults(
        outputs: [("decoded", decoded), ("remainder", remainder)], inputs: [("input", input), ("residual", residual)])
      guard faults.isEmpty else { throw ValidationError(faults.joined(separator: "\n")) }
    }
  }

  /// Compares codecs on one gradient or on one of every kind.
  private func compareAll() throws {
    let plot = try svg.map(FileDestination.init)
    try plot?.open()
    let count = count.first ?? 1 << 20, row = row.first ?? 1024
    guard input != nil || count.isMultiple(of: row) else { throw ValidationError("--count is a multiple of --row") }
    // Gradients of every kind, and of one codec the residual, the arrived values and the code.
    if input == nil { try requireMemory(values: count, buffers: 10) }
    let inputs =
      try input.map { path in
        let file = try NumpyFile(from: path)
        return [CodecTable.Input(name: path, shape: file.shape, values: file.values)]
      } ?? CodecTable.kinds(count: count, row: row)
    let table = CodecTable(
      codecs: try (codec.isEmpty ? CodecTable.specifications : codec).map { try codecs.make($0) }, inputs: inputs)
    let wrong = try table.run(iterations: min(iterations, 3), output: output, plot: plot)
    if wrong > 0 { fail("\(wrong) values are not what decoded + remainder must give", status: 70) }
  }

  func run() throws {
    if all { return try compareAll() }
    if let input {
      let files = try [decoded, remainder].map { try $0.map(FileDestination.init) }
      for file in files { try file?.open() }
      if let ranks {
        return try SimulatedGradients(codec: try codecs.make(codec.first ?? "one-bit"), pattern: input, rankCount: ranks).run(
          decoded: files[0], output: output)
      }
      try OwnGradient(codec: try codecs.make(codec.first ?? "one-bit"), input: input, residual: residual).run(
        decoded: files[0], remainder: files[1], output: output)
      return
    }
    let defaults = ["one-bit", "count-sketch", "count-sketch:columns=1/50", "top-k"]
    let (plain, sketches) = try chosen(codec.isEmpty ? defaults : codec)
    // Gradient, residual and decoded values.
    for count in count { try requireMemory(values: count, buffers: 3) }
    let table = Table("codecs", CodecsBenchmark.columns, options: output)
    var wrong = 0
    for codec in plain {
      for count in count.isEmpty ? [1 << 16, 1 << 26] : count {
        for row in row.isEmpty ? [1024] : row {
          wrong += CodecsBenchmark(codec: codec, count: count, row: row).measure(iterations: iterations, into: table)
        }
      }
    }
    for sketch in sketches {
      for count in count.isEmpty ? [1 << 24] : count {
        wrong += try sketch.measure(count: count, iterations: iterations, into: table)
      }
    }
    if wrong > 0 { fail("\(wrong) values are not what they must be", status: 70) }
  }

  /// The codecs and the sketches among the requested ones.
  private func chosen(_ texts: [String]) throws -> ([any Codec], [SketchBenchmark]) {
    var (found, sketches): ([any Codec], [SketchBenchmark]) = ([], [])
    for text in texts {
      let name = try Specification(text).name
      if SketchBenchmark.all.entries.contains(where: { $0.name == name }) {
        sketches.append(try SketchBenchmark.all.make(text))
      } else {
        found.append(try codecs.make(text))
      }
    }
    return (found, sketches)
  }
}
