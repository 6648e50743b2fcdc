import Buffers
import Codecs

/// What arrives of a chunk and what stays, in plain code.
enum ChunkReference {
  /// The places of the `k` largest magnitudes, ascending: zeros never, and of equal ones the first.
  static func places(_ v: [Float], k: Int) -> [Int] {
    let order = v.indices.filter { v[$0] != 0 }.map {
      UInt64(v[$0].magnitude.bitPattern) << 32 | UInt64(UInt32.max - UInt32($0))
    }
    return order.sorted(by: >).prefix(k).map { Int(UInt32.max - UInt32(truncatingIfNeeded: $0)) }.sorted()
  }

  /// The nearest number with eight bits of significand, ties to even, but a finite one.
  static func rounded(_ x: Double) -> Float {
    let value = Float(x)
    guard value != 0 else { return 0 }
    // One unit in the last place of the short format.
    let unit = Float(sign: .plus, exponent: max(value.exponent, -126) - 7, significand: 1)
    let multiple = (value / unit).rounded(.toNearestOrEven)
    let found = multiple * unit
    return found.isFinite ? found : (found < 0 ? -1 : 1) * Float(bitPattern: 0x7F7F_0000)
  }

  /// What arrives of the chosen values.
  static func arriving(_ chosen: [Float], _ values: ChunkValues) -> [Float] {
    let magnitudes = chosen.map { Double($0.magnitude) }
    func mean(_ some: [Double]) -> Double { some.reduce(0, +) / Double(some.count) }
    var found: [Float]
    switch values {
    case .float: return chosen
    case .bf16: found = chosen.map { rounded(Double($0)) }
    case .sign: found = chosen.map { ($0 < 0 ? -1 : 1) * rounded(mean(magnitudes)) }
    case .two:
      guard !chosen.isEmpty else { return [] }
      var (split, means) = (mean(magnitudes), (mean(magnitudes), mean(magnitudes)))
      for _ in 0..<16 {
        let (below, above) = (magnitudes.filter { $0 < split }, magnitudes.filter { $0 >= split })
        guard !below.isEmpty, !above.isEmpty else { break }
        means = (mean(below), mean(above))
        if (means.0 + means.1) / 2 == split { break }
        split = (means.0 + means.1) / 2
      }
      let levels = (rounded(means.0), rounded(means.1))
      let middle = Float((Double(levels.0) + Double(levels.1)) / 2)
      found = chosen.map { ($0 < 0 ? -1 : 1) * ($0.magnitude < middle ? levels.0 : levels.1) }
    }
    // No −0 arrives.
    for place in found.indices where found[place] == 0 { found[place] = 0 }
    return found
  }

  /// What arrives of v and what stays.
  static func transfer(_ v: [Float], k: Int, _ values: ChunkValues) -> (arrived: [Float], rest: [Float]) {
    let places = places(v, k: k)
    var (arrived, rest) = ([Float](repeating: 0, count: v.count), v)
    for (place, value) in zip(places, arriving(places.map { v[$0] }, values)) {
      (arrived[place], rest[place]) = (value, v[place] - value)
    }
    return (arrived, rest)
  }
}
