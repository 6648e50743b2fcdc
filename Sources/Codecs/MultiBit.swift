internal import Buffers
internal import Kernels

/// A few bits per value: each group is sent as the slots of a uniform scale that its root mean square sets; what that loses is
/// the residual.
///
/// The code of a group of n values v = (gradient + residual) + 0.0, all numbers little endian, with b bits and m = 2ᵇ − 1 slots:
///
///     fp32    lo = −rσ   σ = √(mean of v²), r the range
///     fp32    hi = +rσ
///     uint32  × ⌈n b/32⌉, the codes block by block of 32 values, the last block shorter. A block of k values has
///             w = ⌈k b/32⌉ words; the code of its value e is in word e % w, from bit b × ⌊e/w⌋ on; the bits after it are 0
///
/// A code is ⌊(v − lo)·m/(hi − lo)⌋, at most m − 1; 0 for v ≤ lo, and m for v ≥ hi. It decodes to lo + (code + ½)(hi − lo)/m and
/// leaves what is missing in the residual, rounded once. There is one slot fewer than codes, so that a slot is centred on
/// zero; the code m, for what lies beyond, decodes to half a slot beyond hi. Squares are added in fp64 over 32 lanes (lane l adds
/// the elements l, l + 32, …) that are combined by halves, so that every processor finds the same bits. A group whose scale is
/// shorter than 10⁻³⁶ is sent as zeros and stays in the residual whole. Where a slot is narrower than the least normal fp32
/// number, the same is computed with everything 2⁶⁴ times as large (`LiftedLanes` of the module `Kernels`).
///
/// Two bits at the range 4 send nothing of a group whose magnitudes are all below 4/3 σ, for example of equal ones: such a group
/// stays in the residual for good. A range of 2 sends it.
///
/// Source: CNTK's quantizer for more than one bit, with the range 4 (algorithms §1.2).
/// - Cost: 8 + 4⌈n b/32⌉ bytes per group.
public struct MultiBit: Codec {
  /// The numbers of bits there are.
  public static var bitCounts: [Int] { MultiBitLoops.bitCounts }

  public let grouping: Grouping
  public let name = "multi-bit"
  public let isIdentity = false
  /// The bits of a value.
  public var bits: Int { loops.bits }
  /// How far the scale reaches to either side, in root mean squares of the group.
  public var range: Float { loops.range }
  private let loops: MultiBitLoops

  /// The codec with `bits` per value (2, 4, 8 or 16) for each group of `grouping`.
  public init(bits: Int = 4, grouping: Grouping = .row, range: Float = 4) {
    require(range >= 0.5 && range <= 64, "the range is 0.5 to 64 root mean squares, not \(range)")
    self.grouping = grouping
    loops = MultiBitLoops(bits: bits, range: range)
  }

  public var specification: String {
    let text = range == range.rounded() ? "\(Int(range))" : "\(range)"
    return "multi-bit:bits=\(bits),group=\(grouping),range=\(text)"
  }

  public func codeByteCount(of count: Int) -> Int { 8 + 4 * ((count * bits + 31) / 32) }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? { loops.encode(gradient, residual, count: count, into: code) ? codeByteCount(of: count) : nil }

  public func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { loops.decode(code, count: count, setting: values) }

  public func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    loops.decode(code, count: count, addingTo: values)
  }
}
