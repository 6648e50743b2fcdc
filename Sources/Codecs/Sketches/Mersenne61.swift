/// Arithmetic modulo P = 2⁶¹ − 1 on numbers below P; products are the full 128 bits.
enum Mersenne61 {
  static let prime: UInt64 = 1 << 61 - 1

  @inline(__always)
  static func add(_ a: UInt64, _ b: UInt64) -> UInt64 { reduced(a &+ b) }

  @inline(__always)
  static func subtract(_ a: UInt64, _ b: UInt64) -> UInt64 { a >= b ? a &- b : a &+ prime &- b }

  /// Since 2⁶¹ = 1 modulo P, the bits from there on are added to those below.
  @inline(__always)
  static func multiply(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return reduced((product.low & prime) &+ (product.high &<< 3 | product.low &>> 61))
  }

  @inline(__always)
  private static func reduced(_ a: UInt64) -> UInt64 { a >= prime ? a &- prime : a }
}
