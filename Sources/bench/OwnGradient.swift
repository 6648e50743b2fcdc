internal import Buffers
internal import Codecs
internal import Files
internal import Kernels

/// A codec on a gradient from a file.
struct OwnGradient {
  let codec: any Codec
  let path: String
  let gradient: NumpyFile
  let residual: FloatBuffer

  /// Reads the gradient, and the residual if there is one.
  init(codec: any Codec, input: String, residual: String?) throws {
    self.codec = codec
    path = input
    gradient = try NumpyFile(from: input)
    self.residual = FloatBuffer(count: gradient.values.count)
    guard let residual else { return }
    let file = try NumpyFile(from: residual)
    guard file.shape == gradient.shape else {
      fail("'\(residual)' has the shape \(file.shape), and '\(input)' \(gradient.shape)", status: 65)
    }
    guard !codec.isIdentity || file.values.values.allSatisfy({ $0 == 0 }) else {
      fail("codec '\(codec.specification)' loses nothing and takes no residual", status: 65)
    }
    self.residual.copy(from: file.values)
  }

  /// Encodes and decodes, writes the requested files, and prints error and bytes.
  func run(decoded decodedFile: FileDestination?, remainder remainderFile: FileDestination?, output: OutputOptions) throws {
    let count = gradient.values.count
    let groups = codec.grouping.groups(of: TensorLayout([("gradient", gradient.shape)]))
    let sums = FloatBuffer(count: count)
    for i in 0..<count { sums.baseAddress[i] = gradient.values.baseAddress[i] + residual.baseAddress[i] }
    let decoded = FloatBuffer(count: count)
    let code = ByteBuffer(count: groups.map { codec.encodedByteCount(of: $0.count) }.max() ?? 0)
    let coder = GroupCoder(codec, residual: residual)
    var byteCount = 0
    for group in groups {
      byteCount += coder.encode(
        gradient.values.baseAddress + group.lowerBound, at: group.lowerBound, count: group.count, into: code.baseAddress,
        context: EncodingContext())
      guard coder.nonFiniteGroups == 0 else { fail(GradientCheck.whatIsNotFinite(group, of: sums, path: path), status: 65) }
      coder.decode(code.baseAddress, count: group.count, setting: decoded.baseAddress + group.lowerBound)
    }
    if let decodedFile { try NumpyFile(shape: gradient.shape, values: decoded).write(to: decodedFile) }
    if let remainderFile { try NumpyFile(shape: gradient.shape, values: residual).write(to: remainderFile) }

    var (wrong, largest) = (0, 0.0)
    for i in 0..<count {
      let (v, y, rest) = (sums.baseAddress[i], decoded.baseAddress[i], residual.baseAddress[i])
      let error = (Double(y) + Double(rest) - Double(v)).magnitude
      largest = max(largest, error)
      if codec.keepsRemainder, error > Double(max(v.magnitude, y.magnitude, rest.magnitude).ulp) / 2 { wrong += 1 }
    }
    let energy = sumOfSquares(sums.baseAddress, count: count)
    // What is lost without a remainder is not in the residual.
    if !codec.keepsRemainder { subtract(sums.baseAddress, decoded.baseAddress, count: count, into: residual.baseAddress) }
    let lost = sumOfSquares(residual.baseAddress, count: count)
    let table = Table(
      "codecs",
      [
        Column("codec", "codec"), Column("count", "values", .integer), Column("groups", "groups", .integer),
        Column("plainGroups", "raw groups", .integer), Column("bytes", "bytes", .integer),
        Column("bitsPerValue", "bits/value", .decimal(3)), Column("compressionRatio", "times smaller", .decimal(2)),
        Column("relativeError", "‖remainder‖/‖sum‖", .decimal(6)), Column("maxError", "max |decoded + remainder − sum|"),
        Column("wrong", "wrong", .integer),
      ], options: output, isOnStandardError: [decodedFile, remainderFile].contains { $0?.isStandardOutput ?? false })
    table.row([
      .text(codec.specification), .integer(count), .integer(groups.count),
      .integer(groups.count { codec.isRaw(count: $0.count) }), .integer(byteCount),
      count == 0 ? .nothing : .number(8 * Double(byteCount) / Double(count)),
      byteCount == 0 ? .nothing : .number(4 * Double(count) / Double(byteCount)),
      energy == 0 ? .nothing : .number((lost / energy).squareRoot()), .number(largest), .integer(wrong),
    ])
    if wrong > 0 { fail("\(wrong) values are not what decoded + remainder must give", status: 70) }
  }
}
