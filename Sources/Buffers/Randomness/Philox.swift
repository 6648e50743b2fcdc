/// Philox4x32-10, a counter-based random generator: every draw has an address, and no state is kept.
///
/// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
public struct Philox: Sendable {
  /// What random numbers are used for; no two purposes share a number.
  public enum Purpose: UInt32, Sendable {
    /// Stochastic codes.
    case stochasticRounding = 0x01
    /// Values that are drawn without regard to their size.
    case randomK = 0x02
    /// Values that are drawn by their size.
    case unbiasedSparsity = 0x03
    /// Dither that sender and receiver share.
    case dither = 0x04
    /// Directions that are drawn for vectors.
    case vectorChoice = 0x05
    /// Random projections.
    case projection = 0x06
    /// The order of samples.
    case dataOrder = 0x07
    /// Singular values that are drawn by their size.
    case singularValues = 0x08
    /// The hash functions of sketches.
    case sketchHashes = 0x10
    /// The positions with which HeavyMix fills up.
    case heavyMixFill = 0x11
    /// What becomes of votes that are tied.
    case voteTies = 0x12
    /// Which clients share a step.
    case clientSampling = 0x13
    /// The factors of low-rank codes, where they begin anew.
    case lowRank = 0x15
    /// Which client gets which sample.
    case clientPartition = 0x16
    /// Emulated times.
    case serviceTime = 0x17
    /// Neighbours that workers draw.
    case neighbours = 0x18
    /// The signs with which groups are rotated.
    case rotation = 0x19
    /// The vectors of a code.
    case vectorBook = 0x1A
    /// Units that drop out.
    case dropout = 0x20
    /// Weights that drop out.
    case dropConnect = 0x21
    /// Crops and mirrors of images.
    case augmentation = 0x22
    /// Windows of a text.
    case textSampling = 0x23
    /// Initial parameters.
    case initialization = 0x30
    /// Generated data.
    case drawing = 0x31
    /// Tests.
    case tests = 0x7F
  }

  package let key: SIMD2<UInt32>
  private let step: UInt32
  private let purposeAndStream: UInt32

  /// Numbers for one purpose and step; `stream` (24 bits) is 0 if all ranks must draw the same.
  public init(seed: UInt64, purpose: Purpose, step: Int = 0, stream: Int = 0) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    self.step = UInt32(truncatingIfNeeded: step)
    purposeAndStream = purpose.rawValue << 24 | (UInt32(truncatingIfNeeded: stream) & 0xFF_FFFF)
  }

  /// Four random words at once: those of elements `4 * quad` to `4 * quad + 3` of tensor `tensor`.
  public func words(quad: Int, tensor: Int = 0) -> SIMD4<UInt32> {
    Philox.block(counter: counter(quad: quad, tensor: tensor), key: key)
  }

  /// The counter of a quad.
  package func counter(quad: Int, tensor: Int = 0) -> SIMD4<UInt32> {
    let low = UInt32(truncatingIfNeeded: quad)
    let high = UInt32(truncatingIfNeeded: quad >> 32) & 0xFFFF | UInt32(truncatingIfNeeded: tensor) << 16
    return SIMD4(low, high, step, purposeAndStream)
  }

  /// The words of sixteen quads at once, from `first` on: the first word of each, the second ones, and so on.
  package func words(quads first: Int, tensor: Int = 0) -> (Words, Words, Words, Words) {
    let high = UInt32(truncatingIfNeeded: first >> 32) & 0xFFFF | UInt32(truncatingIfNeeded: tensor) << 16
    var c0 = Words(repeating: UInt32(truncatingIfNeeded: first)) &+ Philox.ascending
    var c1 = Words(repeating: high)
    var c2 = Words(repeating: step)
    var c3 = Words(repeating: purposeAndStream)
    var k = key
    for round in 0..<10 {
      if round > 0 { k = k &+ SIMD2(0x9E37_79B9, 0xBB67_AE85) }
      let p0 = Philox.products(c0, 0xD251_1F53)
      let p1 = Philox.products(c2, 0xCD9E_8D57)
      (c0, c1, c2, c3) = (
        p1.high ^ c1 ^ Words(repeating: k[0]), p1.low, p0.high ^ c3 ^ Words(repeating: k[1]), p0.low
      )
    }
    return (c0, c1, c2, c3)
  }

  /// Sixteen random words.
  package typealias Words = SIMD16<UInt32>

  private static let ascending = Words(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

  /// The upper and the lower halves of sixteen products, from those of the even and of the odd lanes in 64 bits.
  @inline(__always)
  private static func products(_ values: Words, _ factor: UInt64) -> (high: Words, low: Words) {
    let pairs = unsafeBitCast(values, to: SIMD8<UInt64>.self)
    let (lower, upper) = (SIMD8<UInt64>(repeating: 0xFFFF_FFFF), SIMD8<UInt64>(repeating: 0xFFFF_FFFF_0000_0000))
    let factors = SIMD8<UInt64>(repeating: factor)
    let even = (pairs & lower) &* factors
    let odd = (pairs &>> 32) &* factors
    return (
      unsafeBitCast((even &>> 32) | (odd & upper), to: Words.self), unsafeBitCast((even & lower) | (odd &<< 32), to: Words.self)
    )
  }

  /// The random word of element `index` of tensor `tensor`.
  public func word(_ index: Int, tensor: Int = 0) -> UInt32 {
    words(quad: index >> 2, tensor: tensor)[index & 3]
  }

  /// Uniform in [0, 1 − 2⁻²⁴], exact in fp32.
  public func uniform(_ index: Int, tensor: Int = 0) -> Float {
    Float(word(index, tensor: tensor) >> 8) * 0x1p-24
  }

  /// The ten rounds.
  public static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
    var (c, k) = (counter, key)
    for round in 0..<10 {
      if round > 0 { k = k &+ SIMD2(0x9E37_79B9, 0xBB67_AE85) }
      let p0 = c[0].multipliedFullWidth(by: 0xD251_1F53)
      let p1 = c[2].multipliedFullWidth(by: 0xCD9E_8D57)
      c = SIMD4(p1.high ^ c[1] ^ k[0], p1.low, p0.high ^ c[3] ^ k[1], p0.low)
    }
    return c
  }
}
