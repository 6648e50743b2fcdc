/// The vector type of the element-wise loops.
///
/// Sixteen lanes on every processor, so that sums by lanes have the same bits everywhere.
package typealias Lanes = SIMD16<Float>

extension Lanes {
  /// The lanes at `address`, which need not be aligned.
  @inline(__always)
  init(at address: UnsafePointer<Float>) {
    self = UnsafeRawPointer(address).loadUnaligned(as: Lanes.self)
  }

  /// The `count` lanes at `address`, fewer than sixteen, and `padding` in the others.
  @inline(__always)
  init(at address: UnsafePointer<Float>, count: Int, padding: Float) {
    self.init(repeating: padding)
    for lane in 0..<count { self[lane] = address[lane] }
  }

  /// Writes all lanes.
  @inline(__always)
  func store(at address: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(address).storeBytes(of: self, as: Lanes.self)
  }

  /// Writes the first `count` lanes.
  @inline(__always)
  func store(at address: UnsafeMutablePointer<Float>, count: Int) {
    for lane in 0..<count { address[lane] = self[lane] }
  }

  /// The sum of all lanes, added by halves.
  @inline(__always)
  var total: Float {
    let eight = lowHalf + highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}

/// The `count` lanes at `address`, up to sixteen, and 0 in the others.
@inline(__always)
func load(_ address: UnsafePointer<Float>, _ count: Int) -> Lanes {
  count == 16 ? Lanes(at: address) : Lanes(at: address, count: count, padding: 0)
}

/// Writes the first `count` lanes, up to sixteen.
@inline(__always)
func store(_ values: Lanes, _ address: UnsafeMutablePointer<Float>, _ count: Int) {
  if count == 16 { values.store(at: address) } else { values.store(at: address, count: count) }
}

/// Calls `body` for pieces of up to sixteen of `total` values.
@inline(__always)
func eachLanes(of total: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
  var first = 0
  while first < total {
    body(first, min(16, total - first))
    first += 16
  }
}

/// eˣ by lanes, within 2 ulp from −87 to 88; below that, 0; above, e⁸⁸; NaN stays NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its Taylor series to r⁷, whose remainder is below 2⁻²⁷; 2ⁿ by its exponent bits.
/// Uses only additions and products that are not fused: the same bits on every processor and with every C library.
@inline(__always)
package func exponential(_ x: Lanes) -> Lanes {
  // Comparisons are false for NaN, which therefore passes through.
  let isTiny = x .< -87
  let clamped = x.replacing(with: -87, where: isTiny).replacing(with: 88, where: x .> 88)
  // Adding 1.5 · 2²³ rounds to a whole number and leaves it in the low bits.
  let shifted = clamped * 1.442_695_04 + 0x1.8p23
  let n = shifted - 0x1.8p23
  // ln 2 in two parts; the first has so few bits that n times it is exact.
  let r = (clamped - n * 0x1.63p-1) - n * -0x1.bd0106p-13
  var series = r * (1 / 5040) + (1 / 720)
  series = series * r + (1 / 120)
  series = series * r + (1 / 24)
  series = series * r + (1 / 6)
  series = series * r + 0.5
  series = (series * r) * r + r + 1
  let bits = (unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &+ 127) &<< 23
  return (series * unsafeBitCast(bits, to: Lanes.self)).replacing(with: 0, where: isTiny)
}
