internal import Buffers
internal import CMorse
internal import Transport

extension TensorLayout {
  /// The most dimensions of a tensor.
  private static let mostDimensions = 32

  /// The layout of a caller's tensors; throws what is wrong with one.
  init(_ tensors: UnsafePointer<morse_tensor>?, count: Int64) throws {
    try demand(count >= 0 && count < 1 << 31, "the number of tensors is \(count)")
    guard count > 0, let tensors else { throw Failure.usage("no tensors were given") }
    var names: Set<String> = []
    var total = 0
    self.init()
    for index in 0..<Int(count) {
      let tensor = tensors[index]
      guard let characters = tensor.name else { throw Failure.usage("tensor \(index) has no name") }
      let name = String(cString: characters)
      try demand(names.insert(name).inserted, "two tensors are named '\(name)'")
      let shape = try TensorLayout.shape(of: tensor, name)
      guard let size = shape.size, case let (sum, overflows) = total.addingReportingOverflow(size), !overflows, sum < 1 << 48
      else {
        throw Failure.usage("tensor '\(name)' makes the array longer than any memory")
      }
      total = sum
      switch Int(tensor.kind) {
      case Int(MORSE_TENSOR_CODED): append(name, shape: shape.sizes)
      case Int(MORSE_TENSOR_PLAIN): append(name, shape: shape.sizes, kind: .raw)
      default: throw Failure.usage("tensor '\(name)' is neither coded (0) nor plain (1), but \(tensor.kind)")
      }
    }
    try demand(total > 0, "the tensors have no values")
  }

  /// The dimensions of a tensor, and the number of its values; nil if that does not fit.
  private static func shape(of tensor: morse_tensor, _ name: String) throws -> (sizes: [Int], size: Int?) {
    let dimensions = Int(tensor.dimensions)
    try demand(
      (0...mostDimensions).contains(dimensions),
      "tensor '\(name)' has \(dimensions) dimensions; 0 to \(mostDimensions) are possible")
    guard dimensions > 0 else { return ([], 1) }
    guard let start = tensor.shape else { throw Failure.usage("tensor '\(name)' has \(dimensions) dimensions, but no shape") }
    let sizes = UnsafeBufferPointer(start: start, count: dimensions).map { Int($0) }
    try demand(!sizes.contains { $0 < 0 }, "tensor '\(name)' has a negative dimension")
    var size: Int? = 1
    for length in sizes {
      size = size.flatMap { $0.multipliedReportingOverflow(by: length) }.flatMap { $0.overflow ? nil : $0.partialValue }
    }
    return (sizes, size)
  }

  /// One line for each tensor, by which ranks compare what they exchange.
  var lines: [String] {
    tensors.map { tensor in
      let shape = tensor.shape.map(String.init).joined(separator: "×")
      return "\(tensor.name) \(shape)\(tensor.kind == .raw ? " plain" : "")"
    }
  }
}

extension World {
  /// Throws on all ranks, with the first difference, if their tensors are not the same; collective.
  func checkEqual(_ layout: TensorLayout) throws {
    let lines = layout.lines
    // As many lines as fit into an answer, after the hash of all.
    let text = lines.joined(separator: "\n")
    var answer = withUnsafeBytes(of: XXHash64.hash(text), Array.init)
    answer += "\(lines.count) tensors of \(layout.count) values\n\(text)".utf8
    let answers = try hosts.gather(answer, activity: "the comparison of the tensors")
    let odd = dissenters(among: answers.map { $0.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } })
    guard let rank = odd.first, let other = answers.indices.first(where: { !odd.contains($0) }) else { return }
    let own = TensorLayout.lines(of: answers[rank])
    let usual = TensorLayout.lines(of: answers[other])
    let place = zip(own, usual).enumerated().dropFirst().first { $0.element.0 != $0.element.1 }?.offset ?? 0
    throw Failure.usage(
      "the tensors differ between ranks: \(hosts.name(of: rank)) has \(own[place]) where "
        + "\(hosts.name(of: other)) has \(usual[place])"
    )
  }
}

extension TensorLayout {
  fileprivate static func lines(of answer: [UInt8]) -> [String] {
    String(decoding: answer.dropFirst(8), as: UTF8.self).split(separator: "\n").map(String.init)
  }
}
