internal import Buffers

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
/// number, the same is computed with everything 2⁶⁴ times as large (`LiftedLanes`). A group whose code would be no shorter is
/// sent as its floats.
///
/// Two bits at the range 4 send nothing of a group whose magnitudes are all below 4/3 σ, for example of equal ones: such a group
/// stays in the residual for good. A range of 2 sends it.
///
/// Source: CNTK's quantizer for more than one bit, with the range 4 (algorithms §1.2).
/// - Cost: 8 + 4⌈n b/32⌉ bytes per group.
public struct MultiBit: Codec {
  /// The numbers of bits there are.
  public static let bitCounts = [2, 4, 8, 16]

  public let grouping: Grouping
  public let name = "multi-bit"
  public let isIdentity = false
  /// The bits of a value.
  public let bits: Int
  /// How far the scale reaches to either side, in root mean squares of the group.
  public let range: Float
  private let kernel: any MultiBitKernel.Type
  /// The same for groups whose slots are too narrow for it.
  private let liftedKernel: any MultiBitKernel.Type

  /// The codec with `bits` per value (2, 4, 8 or 16) for each group of `grouping`.
  public init(bits: Int = 4, grouping: Grouping = .row, range: Float = 4) {
    switch bits {
    case 2: (kernel, liftedKernel) = (PackedLanes<PairsOfBits>.self, LiftedLanes<PackedLanes<PairsOfBits>>.self)
    case 4: (kernel, liftedKernel) = (PackedLanes<Nibbles>.self, LiftedLanes<PackedLanes<Nibbles>>.self)
    case 8: (kernel, liftedKernel) = (PackedLanes<Octets>.self, LiftedLanes<PackedLanes<Octets>>.self)
    case 16: (kernel, liftedKernel) = (PackedLanes<HalfWords>.self, LiftedLanes<PackedLanes<HalfWords>>.self)
    default: fatalError("a value has 2, 4, 8 or 16 bits, not \(bits)")
    }
    require(range >= 0.5 && range <= 64, "the range is 0.5 to 64 root mean squares, not \(range)")
    (self.bits, self.grouping, self.range) = (bits, grouping, range)
  }

  public var specification: String {
    let text = range == range.rounded() ? "\(Int(range))" : "\(range)"
    return "multi-bit:bits=\(bits),group=\(grouping),range=\(text)"
  }

  public func encodedByteCount(of count: Int) -> Int { isPlain(count: count) ? 4 * count : codeByteCount(of: count) }

  public func isPlain(count: Int) -> Bool { 4 * count <= codeByteCount(of: count) }

  private func kernel(for scale: Scale) -> any MultiBitKernel.Type { scale.isNarrow ? liftedKernel : kernel }

  private func codeByteCount(of count: Int) -> Int { 8 + 4 * ((count * bits + 31) / 32) }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) -> Bool {
    if isPlain(count: count) { return encodePlain(gradient, residual, count, code.assumingMemoryBound(to: Float.self)) }
    guard let scale = Scale(Portable.sumOfSquares(gradient, residual, count), count: count, range: range, bits: bits) else {
      code.initializeMemory(as: UInt8.self, repeating: 0, count: codeByteCount(of: count))
      return false
    }
    code.storeBytes(of: scale.low.bitPattern.littleEndian, as: UInt32.self)
    code.storeBytes(of: scale.high.bitPattern.littleEndian, toByteOffset: 4, as: UInt32.self)
    kernel(for: scale).encode(gradient, residual, count, scale, into: code + 8)
    return true
  }

  public func decode(
    _ code: UnsafeRawPointer, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    if isPlain(count: count) { return None().decode(code, count: count, setting: values, streaming: false) }
    let scale = Scale(of: code, bits: bits)
    kernel(for: scale).decode(code + 8, count, scale, into: values)
  }

  public func decode(_ code: UnsafeRawPointer, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    if isPlain(count: count) { return None().decode(code, count: count, addingTo: values) }
    let scale = Scale(of: code, bits: bits)
    kernel(for: scale).decode(code + 8, count, scale, addingTo: values)
  }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    require(codeCount > 0, "a sum needs a code")
    if isPlain(count: count) { return None().decodeSum(codes, codeCount: codeCount, count: count, into: values) }
    decode(codes[0], count: count, setting: values, streaming: false)
    for k in stride(from: 1, to: codeCount, by: 1) { decode(codes[k], count: count, addingTo: values) }
  }
}

/// The scale of one group.
struct Scale {
  let low: Float
  let high: Float
  /// The code of what lies at `high` or beyond, which is also the number of slots.
  let top: Float
  /// Slots per unit; 0 where everything is sent as zero.
  let slots: Float
  /// The width of a slot.
  let width: Float

  /// The scale of `count` values from the sum of their squares; nil where fp32 does not reach from its low end to half a slot beyond
  /// the high one.
  init?(_ squares: Double, count: Int, range: Float, bits: Int) {
    let reach = range * Float((squares / Double(count)).squareRoot())
    let isEmpty = 2 * reach < 1e-36
    self.init(low: isEmpty ? 0 : -reach, high: isEmpty ? 0 : reach, bits: bits)
    // What the last code decodes to, counted from the low end.
    guard ((top + 0.5) * width).isFinite else { return nil }
  }

  /// The scale that a code begins with.
  init(of code: UnsafeRawPointer, bits: Int) {
    self.init(
      low: Float(bitPattern: UInt32(littleEndian: code.load(as: UInt32.self))),
      high: Float(bitPattern: UInt32(littleEndian: code.load(fromByteOffset: 4, as: UInt32.self))), bits: bits)
  }

  private init(low: Float, high: Float, bits: Int) { self.init(low: low, high: high, top: Float(1 << bits - 1)) }

  private init(low: Float, high: Float, top: Float) {
    (self.low, self.high, self.top) = (low, high, top)
    slots = high > low ? top / (high - low) : 0
    width = (high - low) / top
  }

  /// Whether the width of a slot is no normal number, so that it lacks digits, and slots per unit may be beyond fp32.
  var isNarrow: Bool { high > low && !width.isNormal }

  /// The scale of the same codes for values 2⁶⁴ times as large.
  var lifted: Scale { Scale(low: 0x1p64 * low, high: 0x1p64 * high, top: top) }
}
