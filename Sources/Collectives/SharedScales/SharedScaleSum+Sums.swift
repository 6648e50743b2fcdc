internal import Buffers
internal import Codecs
internal import Kernels

// The way back: codes of sums, or the whole numbers that they are.
extension SharedScaleSum {
  /// Writes the sums of the shard of this rank, `owner`, of which `values` has the integers.
  func encodeSums(of owner: Int, into message: UnsafeMutablePointer<Float>, _ context: EncodingContext) {
    guard let integers = plan.integers else {
      forEachGroup(of: owner) { sums, run, group in
        codec.decodeSums(sums, count: run.count, scale: scales[group])
      }
      _ = plan.codes.encode(owner, values.baseAddress, by: ownerCoder, at: 0, into: message, context: context)
      return
    }
    var (code, sums) = (UnsafeMutableRawPointer(message), values.baseAddress)
    for run in plan.runs[owner] {
      if let group = run.scale {
        clearIfInfinite(sums, count: run.count, scale: scales[group])
        integers.write(sums, count: run.count, into: code.assumingMemoryBound(to: UInt32.self))
        code += 4 * integers.wordCount(of: run.count)
      } else {
        code += ownerCoder.encode(
          sums, at: run.elements.lowerBound - plan.codes.elements(of: owner).lowerBound, count: run.count,
          areSingle: run.place.areSingle, into: code, context: context)
      }
      sums += run.count
    }
  }

  /// Sets `values` to the sums of the shard of `owner`.
  func decodeSums(of owner: Int, _ message: UnsafePointer<Float>, by coder: GroupCoder) {
    guard let integers = plan.integers else {
      return plan.codes.decode(owner, message, by: coder, setting: values.baseAddress)
    }
    var (code, sums) = (UnsafeRawPointer(message), values.baseAddress)
    for run in plan.runs[owner] {
      if let group = run.scale {
        integers.read(code.assumingMemoryBound(to: UInt32.self), count: run.count, into: sums)
        codec.decodeSums(sums, count: run.count, scale: scales[group])
        code += 4 * integers.wordCount(of: run.count)
      } else {
        copy(code.assumingMemoryBound(to: Float.self), count: run.count, to: sums)
        code += 4 * run.count
      }
      sums += run.count
    }
  }

  private func forEachGroup(
    of owner: Int, _ body: (_ sums: UnsafeMutablePointer<Float>, _ run: SharedScalePlan.Run, _ group: Int) -> Void
  ) {
    var sums = values.baseAddress
    for run in plan.runs[owner] {
      if let group = run.scale { body(sums, run, group) }
      sums += run.count
    }
  }

  /// A group with a sum that fp32 does not reach is sent as zeros, and counted.
  private func clearIfInfinite(_ sums: UnsafeMutablePointer<Float>, count: Int, scale: Float) {
    var largest: Float = 0
    for i in 0..<count { largest = max(largest, sums[i].magnitude) }
    guard !codec.value(of: largest, scale: scale).isFinite else { return }
    sums.update(repeating: 0, count: count)
    refusedGroups += 1
  }
}
