/// The one-bit code of a group as the format describes it, in plain lines.
struct OneBitReference {
  var bits: [Bool]
  /// Means of fp32 sums over 32 lanes: what the code must hold, bit for bit.
  var means: (below: Float, above: Float)
  /// Means in fp64, and the mean magnitude that rounding errors are measured by.
  var exact: (below: Double, above: Double)
  var residual: [Float]

  init(_ gradient: [Float], residual: [Float]) {
    let v = zip(gradient, residual).map { ($0 + $1) + 0.0 }
    let bits = v.map { $0 >= 0 }
    self.bits = bits
    func mean(_ side: Bool) -> Float {
      var lanes = [Float](repeating: 0, count: 32)
      for i in v.indices where bits[i] == side { lanes[i % 32] += v[i] }
      for half in [16, 8, 4, 2, 1] {
        for lane in 0..<half { lanes[lane] += lanes[lane + half] }
      }
      let count = bits.filter { $0 == side }.count
      return count == 0 ? 0 : lanes[0] / Float(count)
    }
    func exactMean(_ side: Bool) -> Double {
      let values = v.indices.filter { bits[$0] == side }.map { Double(v[$0]) }
      return values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }
    means = (mean(false), mean(true))
    exact = (exactMean(false), exactMean(true))
    let (below, above) = means
    self.residual = zip(v, bits).map { $0 - ($1 ? above : below) }
  }

  /// As the format lays it out.
  var code: [UInt32] {
    var words = [UInt32](repeating: 0, count: (bits.count + 31) / 32)
    for (i, bit) in bits.enumerated() where bit { words[i / 32] |= 1 << UInt32(i % 32) }
    return [means.below.bitPattern, means.above.bitPattern] + words
  }
}
