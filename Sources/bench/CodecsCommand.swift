internal import ArgumentParser
internal import Buffers
internal import Codecs

struct CodecsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "codecs", abstract: "Encode and decode: values/s, GB/s and the fraction of the memory limit.",
    discussion: """
      Each operation is measured in pairs with the update loop (a = a + b, 12 bytes a value) on the same buffers; the \
      fraction is the median of the pairs' ratios. One thread, GB = 10⁹ bytes. Bytes a value: encode 12 and the code, \
      decode-set 4 and the code, decode-add 8 and the code, decode-sum 4 and eight codes.

      With --input, a codec is applied to your own gradient: decoded + remainder = gradient + residual. Groups follow the \
      array's shape; the last axis is a row.
      """)

  @Option(help: "A codec; give the option again for more (default: one-bit).")
  var codec: [String] = []
  @Option(help: "Values of the gradient (default: 65536 and 67108864).")
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
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard iterations > 0, count.allSatisfy({ $0 > 0 }), row.allSatisfy({ $0 > 0 }) else {
      throw ValidationError("--count, --row and --iterations take positive numbers")
    }
    if input == nil {
      guard residual == nil, decoded == nil, remainder == nil else {
        throw ValidationError("--residual, --decoded and --remainder go with --input")
      }
    } else {
      guard codec.count <= 1 else { throw ValidationError("--input takes one --codec") }
      guard count.isEmpty, row.isEmpty else { throw ValidationError("--count and --row do not go with --input") }
    }
  }

  func run() throws {
    let chosen = try (codec.isEmpty ? ["one-bit"] : codec).map { try codecs.make($0) }
    if let input {
      try OwnGradient(codec: chosen[0], input: input, residual: residual).run(
        decoded: decoded, remainder: remainder, output: output)
      return
    }
    let table = Table("codecs", CodecsBenchmark.columns, options: output)
    var wrong = 0
    for codec in chosen {
      for count in count.isEmpty ? [1 << 16, 1 << 26] : count {
        for row in row.isEmpty ? [1024] : row {
          wrong += CodecsBenchmark(codec: codec, count: count, row: row).measure(iterations: iterations, into: table)
        }
      }
    }
    if wrong > 0 { fail("\(wrong) values are not what decoded + remainder must give", status: 70) }
  }
}
