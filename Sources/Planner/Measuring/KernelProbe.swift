internal import Buffers
internal import Codecs

/// Measures the cost of a codec's kernels on a real gradient, on all ranks at once.
struct KernelProbe {
  let rounds: Rounds
  let layout: TensorLayout
  let gradient: FloatBuffer

  /// Seconds per value.
  ///
  /// Collective.
  func measure(_ codec: any Codec, _ effort: Rounds.Effort) throws -> KernelCosts {
    let groups = codec.grouping.groups(of: layout)
    guard layout.count > 0 else { return KernelCosts() }
    let coder = GroupCoder(codec, count: layout.count)
    let longest = groups.map(\.count).max() ?? 0
    let scratch = FloatBuffer(count: longest)
    var offsets = [0]
    for group in groups { offsets.append(offsets.last! + codec.encodedByteCount(of: group.count)) }
    let code = ByteBuffer(count: offsets.last!)

    func perValue(_ body: (_ group: Range<Int>, _ code: UnsafeMutableRawPointer) -> Void) throws -> Double {
      let seconds = try rounds.seconds(effort, by: .slowest) {
        for (index, group) in groups.enumerated() { body(group, code.baseAddress + offsets[index]) }
      }
      return seconds / Double(layout.count)
    }

    var costs = KernelCosts()
    costs.encode = try perValue { group, code in
      if codec.isIdentity {
        code.copyMemory(from: gradient.baseAddress + group.lowerBound, byteCount: 4 * group.count)
      } else {
        coder.encode(
          gradient.baseAddress + group.lowerBound, at: group.lowerBound, count: group.count, into: code,
          context: EncodingContext())
      }
    }
    if !codec.isIdentity {
      costs.decode = try perValue { group, code in
        coder.decode(code, count: group.count, setting: scratch.baseAddress)
      }
    }
    // The same code for every rank: an owner reads codes that have just arrived in its cache.
    let (few, many) = (2, 8)
    var sums: [Double] = []
    for count in [few, many] {
      sums.append(
        try perValue { group, code in
          var codes = Array(repeating: UnsafeRawPointer(code), count: count)
          coder.decodeSum(&codes, codeCount: count, count: group.count, into: scratch.baseAddress)
        })
    }
    costs.sumPerCode = max(0, sums[1] - sums[0]) / Double(many - few)
    costs.sum = max(0, sums[0] - costs.sumPerCode * Double(few))
    return costs
  }
}
