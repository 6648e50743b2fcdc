/// The loops in Swift's own vectors: the reference for the faster paths, and what processors without them run.
///
/// There are always thirty-two lanes, here in two vectors of sixteen; the fixed number is what makes all paths agree to the
/// last bit. (One vector of thirty-two would read better, but its operations are not inlined by the compiler.)
enum Portable {
  typealias Half = SIMD16<Float>
  typealias Bits = SIMD16<UInt32>

  /// Thirty-two values.
  struct Lanes {
    var low = Half.zero
    var high = Half.zero

    @inline(__always)
    static func + (a: Lanes, b: Lanes) -> Lanes { Lanes(low: a.low + b.low, high: a.high + b.high) }
    @inline(__always)
    static func - (a: Lanes, b: Lanes) -> Lanes { Lanes(low: a.low - b.low, high: a.high - b.high) }

    /// The sum of the lanes by halves: 16, 8, 4, 2, 1.
    @inline(__always)
    var sum: Float {
      let sixteen = low + high
      let eight = sixteen.lowHalf + sixteen.highHalf
      let four = eight.lowHalf + eight.highHalf
      let two = four.lowHalf + four.highHalf
      return two[0] + two[1]
    }
  }

  /// gradient + residual, without negative zero.
  @inline(__always)
  static func sumOfTwo(_ gradient: Lanes, _ residual: Lanes) -> Lanes { (gradient + residual) + Lanes() }

  /// Thirty-two values at `pointer`, at any alignment.
  @inline(__always)
  static func load(_ pointer: UnsafePointer<Float>) -> Lanes {
    let bytes = UnsafeRawPointer(pointer)
    return Lanes(low: bytes.loadUnaligned(as: Half.self), high: (bytes + 64).loadUnaligned(as: Half.self))
  }

  /// Writes thirty-two values to `pointer`, at any alignment.
  @inline(__always)
  static func store(_ lanes: Lanes, to pointer: UnsafeMutablePointer<Float>) {
    let bytes = UnsafeMutableRawPointer(pointer)
    bytes.storeBytes(of: lanes.low, as: Half.self)
    (bytes + 64).storeBytes(of: lanes.high, as: Half.self)
  }

  /// The first `count` values at `pointer`, the other lanes +0.
  @inline(never)
  static func loadPartially(_ pointer: UnsafePointer<Float>, count: Int) -> Lanes {
    var lanes = Lanes()
    withUnsafeMutableBytes(of: &lanes) { $0.baseAddress!.copyMemory(from: pointer, byteCount: 4 * count) }
    return lanes
  }

  /// Writes the first `count` lanes to `pointer`.
  @inline(never)
  static func storePartially(_ lanes: Lanes, to pointer: UnsafeMutablePointer<Float>, count: Int) {
    withUnsafeBytes(of: lanes) { UnsafeMutableRawPointer(pointer).copyMemory(from: $0.baseAddress!, byteCount: 4 * count) }
  }

  /// Bit l for lane l of the low half; the high half is the same, sixteen bits further.
  @inline(__always)
  static var weights: Bits { Bits(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768) }

  /// The bitwise or of all lanes.
  ///
  /// By quarters as a tuple, because the compiler takes halves of a vector apart lane by lane here.
  @inline(__always)
  static func union(_ bits: Bits) -> UInt32 {
    typealias Quarter = SIMD4<UInt32>
    let quarters = unsafeBitCast(bits, to: (Quarter, Quarter, Quarter, Quarter).self)
    let four = (quarters.0 | quarters.1) | (quarters.2 | quarters.3)
    let two = unsafeBitCast(four, to: SIMD2<UInt64>.self)
    let one = two[0] | two[1]
    return UInt32(truncatingIfNeeded: one | one >> 32)
  }
}
