/// The loops of codes of several bits, whose layout the codec `MultiBit` describes, over one group.
package struct MultiBitLoops: Sendable {
  /// The numbers of bits that there are loops for.
  package static let bitCounts = [2, 4, 8, 16]

  /// The bits of a value.
  package let bits: Int
  /// How far the scale reaches to either side, in root mean squares of the group.
  package let range: Float
  private let kernel: any MultiBitKernel.Type
  /// The same for groups whose slots are too narrow for it.
  private let liftedKernel: any MultiBitKernel.Type

  /// The loops for `bits` per value, one of ``bitCounts``.
  package init(bits: Int, range: Float) {
    switch bits {
    case 2: (kernel, liftedKernel) = (PackedLanes<PairsOfBits>.self, LiftedLanes<PackedLanes<PairsOfBits>>.self)
    case 4: (kernel, liftedKernel) = (PackedLanes<Nibbles>.self, LiftedLanes<PackedLanes<Nibbles>>.self)
    case 8: (kernel, liftedKernel) = (PackedLanes<Octets>.self, LiftedLanes<PackedLanes<Octets>>.self)
    case 16: (kernel, liftedKernel) = (PackedLanes<HalfWords>.self, LiftedLanes<PackedLanes<HalfWords>>.self)
    default: fatalError("a value has 2, 4, 8 or 16 bits, not \(bits)")
    }
    (self.bits, self.range) = (bits, range)
  }

  private func kernel(for scale: Scale) -> any MultiBitKernel.Type { scale.isNarrow ? liftedKernel : kernel }

  /// Writes the code of gradient + residual, 8 bytes and `bits` per value in whole words, and leaves the remainder as the new
  /// residual.
  ///
  /// - Returns: false, with the residual untouched and nothing written, if fp32 has no scale for the values.
  package func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer
  ) -> Bool {
    guard let scale = Scale(Portable.sumOfSquares(gradient, residual, count), count: count, range: range, bits: bits) else {
      return false
    }
    code.storeBytes(of: scale.low.bitPattern.littleEndian, as: UInt32.self)
    code.storeBytes(of: scale.high.bitPattern.littleEndian, toByteOffset: 4, as: UInt32.self)
    kernel(for: scale).encode(gradient, residual, count, scale, into: code + 8)
    return true
  }

  /// Sets `values` to the decoded group.
  package func decode(_ code: UnsafeRawPointer, count: Int, setting values: UnsafeMutablePointer<Float>) {
    let scale = Scale(of: code, bits: bits)
    kernel(for: scale).decode(code + 8, count, scale, into: values)
  }

  /// Adds the decoded group to `values`.
  package func decode(_ code: UnsafeRawPointer, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    let scale = Scale(of: code, bits: bits)
    kernel(for: scale).decode(code + 8, count, scale, addingTo: values)
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
