/// The multi-bit code of a group as the format describes it, in plain lines.
struct MultiBitReference {
  let bits: Int
  let low: Float
  let high: Float
  var codes: [UInt32]
  var residual: [Float]

  init(_ gradient: [Float], residual: [Float], bits: Int, range: Float) {
    let v = zip(gradient, residual).map { ($0 + $1) + 0.0 }
    var lanes = [Double](repeating: 0, count: 32)
    for i in v.indices { lanes[i % 32] += Double(v[i]) * Double(v[i]) }
    for half in [16, 8, 4, 2, 1] {
      for lane in 0..<half { lanes[lane] += lanes[lane + half] }
    }
    let reach = range * Float((lanes[0] / Double(v.count)).squareRoot())
    let isEmpty = reach + reach < 1e-36
    let (low, high) = isEmpty ? (0, 0) : (-reach, reach)
    let slots = Float((1 << bits) - 1)
    codes = v.map { value in
      if isEmpty || value <= low { return 0 }
      if value >= high { return UInt32(slots) }
      return min(UInt32((value - low) * (slots / (high - low))), UInt32(slots) - 1)
    }
    self.residual = zip(v, codes).map { $0 - (low + (Float($1) + 0.5) * ((high - low) / slots)) }
    (self.bits, self.low, self.high) = (bits, low, high)
  }

  /// As the format lays it out.
  var words: [UInt32] {
    var words: [UInt32] = [low.bitPattern, high.bitPattern]
    for start in stride(from: 0, to: codes.count, by: 32) {
      let block = codes[start..<min(start + 32, codes.count)]
      let wordCount = (block.count * bits + 31) / 32
      var all = [UInt32](repeating: 0, count: wordCount)
      for (e, code) in block.enumerated() { all[e % wordCount] |= code << UInt32(bits * (e / wordCount)) }
      words += all
    }
    return words
  }
}
