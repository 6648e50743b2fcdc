internal import Buffers
internal import Codecs
internal import Collectives

/// Measures the cost of a codec's kernels on a real gradient, on all ranks at once.
struct KernelProbe {
  let repetitions: Repetitions
  let layout: TensorLayout
  let gradient: FloatBuffer

  /// Seconds per value.
  ///
  /// Collective.
  func measure(_ codec: any Codec, _ effort: Repetitions.Effort) throws -> KernelCosts {
    let groups = codec.grouping.groups(of: layout)
    guard layout.count > 0 else { return KernelCosts() }
    let coder = GroupCoder(codec, count: layout.count)
    // As an exchange codes them: one by one, but values that travel as floats in runs.
    let runEnds = layout.runEnds(of: groups)
    var (runs, byteCount, next) = ([(range: Range<Int>, areSingle: Bool, code: Int)](), 0, 0)
    while next < groups.count {
      let (first, end) = (next, runEnds[next])
      runs.append((groups[first].lowerBound..<groups[end - 1].upperBound, end > first + 1, byteCount))
      byteCount += (first..<end).reduce(0) { $0 + codec.encodedByteCount(of: groups[$1].count) }
      next = end
    }
    let code = ByteBuffer(count: byteCount)
    let scratch = FloatBuffer(count: runs.map(\.range.count).max() ?? 0)

    func perValue(
      _ body: (_ group: Range<Int>, _ areSingle: Bool, _ code: UnsafeMutableRawPointer) -> Void
    ) throws -> Double {
      let seconds = try repetitions.seconds(effort, by: .slowest) {
        for run in runs { body(run.range, run.areSingle, code.baseAddress + run.code) }
      }
      return seconds / Double(layout.count)
    }

    var costs = KernelCosts()
    costs.encode = try perValue { group, areSingle, code in
      if codec.isIdentity {
        code.copyMemory(from: gradient.baseAddress + group.lowerBound, byteCount: 4 * group.count)
      } else {
        coder.encode(
          gradient.baseAddress + group.lowerBound, at: group.lowerBound, count: group.count, areSingle: areSingle, into: code,
          context: EncodingContext())
      }
    }
    if !codec.isIdentity {
      costs.decode = try perValue { group, areSingle, code in
        coder.decode(code, count: group.count, areSingle: areSingle, setting: scratch.baseAddress)
      }
    }
    // The same code for every rank: an owner reads codes that have just arrived in its cache.
    let (few, many) = (2, 8)
    var (sums, codes) = ([Double](), Array(repeating: UnsafeRawPointer(code.baseAddress), count: many))
    for count in [few, many] {
      sums.append(
        try perValue { group, areSingle, code in
          for index in 0..<count { codes[index] = UnsafeRawPointer(code) }
          coder.decodeSum(&codes, codeCount: count, count: group.count, areSingle: areSingle, into: scratch.baseAddress)
        })
    }
    costs.sumPerCode = max(0, sums[1] - sums[0]) / Double(many - few)
    costs.sum = max(0, sums[0] - costs.sumPerCode * Double(few))
    return costs
  }
}
