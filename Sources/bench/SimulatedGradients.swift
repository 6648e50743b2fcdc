internal import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import Kernels

/// What an exchange of a codec makes of the gradients of several ranks, from files, in this process alone.
struct SimulatedGradients {
  let codec: any Codec
  let gradients: [NumpyFile]

  /// Reads the gradient of each rank: `pattern` with the rank in place of %d.
  init(codec: any Codec, pattern: String, rankCount: Int) throws {
    self.codec = codec
    gradients = try (0..<rankCount).map { try NumpyFile(from: pattern.replacing("%d", with: "\($0)")) }
    for (rank, file) in gradients.enumerated() where file.shape != gradients[0].shape {
      fail("the gradients of rank 0 and \(rank) have different shapes: \(gradients[0].shape), \(file.shape)", status: 65)
    }
    for (rank, file) in gradients.enumerated() {
      guard let index = file.values.values.firstIndex(where: { !$0.isFinite }) else { continue }
      fail(
        "'\(pattern.replacing("%d", with: "\(rank)"))': value \(index) is \(file.values[index]); a codec takes finite values",
        status: 65)
    }
  }

  /// Exchanges them once, without residuals before, writes the requested file, and prints error and bytes.
  func run(decoded decodedFile: FileDestination?, output: OutputOptions) throws {
    let (first, count) = (gradients[0], gradients[0].values.count)
    let layout = TensorLayout([("gradient", first.shape.isEmpty ? [1] : first.shape)])
    let simulation = SimulatedAllReduce(codec, layout: layout, rankCount: gradients.count)
    let sum = FloatBuffer(count: count)
    simulation.run(step: 0, gradients.map(\.values), into: sum)
    if let decodedFile { try NumpyFile(shape: first.shape, values: sum).write(to: decodedFile) }
    var (lost, all) = (0.0, 0.0)
    for index in 0..<count {
      let exact = gradients.reduce(0.0) { $0 + Double($1.values[index]) }
      lost += (exact - Double(sum[index])) * (exact - Double(sum[index]))
      all += exact * exact
    }
    let table = Table(
      "codecs",
      [
        Column("codec", "codec"), Column("ranks", "ranks", .integer), Column("count", "values", .integer),
        Column("contributionBytes", "bytes of a rank", .integer), Column("sumBytes", "bytes of the sum", .integer),
        Column("relativeError", "‖sum − arrived‖/‖sum‖", .decimal(6)),
      ], options: output, isOnStandardError: decodedFile?.isStandardOutput ?? false)
    let bytes = simulation.byteCounts
    table.row([
      .text(codec.specification), .integer(gradients.count), .integer(count), .integer(bytes.contributions / gradients.count),
      .integer(bytes.sums), all == 0 ? .nothing : .number((lost / all).squareRoot()),
    ])
  }
}
