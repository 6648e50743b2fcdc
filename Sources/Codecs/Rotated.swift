internal import Buffers
internal import Kernels

/// A few bits for each value of a rotated group: what is sent does not depend on how the values are distributed.
///
/// The values of a group, v = (gradient + β · residual) + 0.0, are padded with zeros to a power of two P = 2ᵇ, some of them (fixed, drawn
/// by a counter) change their signs, and a Hadamard transform mixes them: z = H D v/√P. Whatever the values are, those of z are spread
/// nearly as a normal distribution is, and a sign and a few levels fit all of them. One bit loses about 1 − 2/π = 36 % of the squared
/// norm of normal, lognormal and constant groups alike, and nothing of a single large value; two means (``OneBit``) lose 97 % of a
/// lognormal group. Two bits lose 12 %, four bits 1 %.
///
/// The code of a group, all numbers little endian:
///
///     fp32    s     the scale, times √P/2^⌈b/2⌉
///     uint32  × bits × ⌈P/32⌉, block by block of 32 rotated values: a word of signs (bit e is 1 if and only if value e is ≥ 0),
///             then the words of the bits of the levels, low ones first; bits after the last value are 0
///
/// With the signs and levels q, a group decodes to s 2^−⌊b/2⌋ D H q, and what gradient + residual has beyond it stays in the
/// residual. Levels are those of least mean square error for a normal distribution of the group's variance; s is the factor for
/// which the error is smallest, ⟨q, z⟩/⟨q, q⟩, or another (``Scale``). All is computed in fp32 with the largest magnitude
/// scaled to 1 to 2 by a power of two, so that groups of any magnitude have the same code; sums over a group are taken over 32
/// lanes (lane l adds the elements l, l + 32, …) that are combined by halves, and transforms go by the distances 1, 2, 4, …, so
/// that every processor finds the same bits.
///
/// A sum of codes is taken before it is rotated back: Σ of q in fp32 in the given order, and one transform for all.
///
/// The signs of D are the same in every group and step.
///
/// Only a share β of the residual takes part in a code: nothing is lost, only later (``Damped``). A quarter, the default, makes one bit
/// from the first step nearly as good as floats where all of the residual does not.
///
/// Source: Vargaftik et al. 2021, "DRIVE: one-bit distributed mean estimation"; Vargaftik et al. 2022, "EDEN"; frontier F4.1 and F3.3.
/// - Cost: 4 + 4 bits ⌈P/32⌉ bytes per group; 2 transforms of log₂P additions per value to encode and one to decode.
public struct Rotated: Codec {
  /// The supported numbers of bits.
  public static var bitCounts: [Int] { RotatedLoops.bitCounts }
  /// The most values of a group.
  public static var longestGroup: Int { RotatedLoops.longestGroup }

  /// The choice of s.
  public enum Scale: String, CaseIterable, Sendable {
    /// ⟨q, z⟩/⟨q, q⟩: the smallest error, for residuals that come later.
    case leastError = "least-error"
    /// ‖z‖²/⟨q, z⟩: ⟨decoded, v⟩ = ‖v‖², and no bias over random signs of D; for one bit the error is 57 % of the squared norm.
    case unbiased
  }

  public let grouping: Grouping
  public let name = "rotated"
  public let isIdentity = false
  public let addsBeforeDecoding = true
  /// The number of bits per value.
  public var bits: Int { loops.bits }
  /// β.
  public var feedback: Float { loops.feedback }
  public var exchangesUntilSent: Double { 1 / Double(feedback) }
  /// The choice of s.
  public var scale: Scale { loops.isUnbiased ? .unbiased : .leastError }
  private let loops: RotatedLoops

  /// Creates the codec with `bits` per value (1, 2 or 4) for each group of `grouping`, of at most ``longestGroup`` values.
  public init(bits: Int = 1, grouping: Grouping = .elements(1024), scale: Scale = .leastError, feedback: Float = 0.25) {
    let philox = Philox(seed: 1, purpose: .rotation)
    let signs = (0..<RotatedLoops.longestGroup / 32).map { philox.word($0) }
    self.init(bits: bits, grouping: grouping, scale: scale, feedback: feedback, signs: signs)
  }

  /// Creates the codec with the given signs of D: a bit for each value.
  package init(bits: Int, grouping: Grouping, scale: Scale, feedback: Float, signs: [UInt32]) {
    require(feedback > 0 && feedback <= 1, "a share of the residual is fed back, 0 to 1, not \(feedback)")
    require(Self.bitCounts.contains(bits), "a rotated value has 1, 2 or 4 bits, not \(bits)")
    if case .elements(let count) = grouping { require(count <= Self.longestGroup, "a group of \(count) values is too long") }
    self.grouping = grouping
    loops = RotatedLoops(bits: bits, isUnbiased: scale == .unbiased, feedback: feedback, signs: signs)
  }

  /// The codec of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    let bits = try specification.integer("bits", default: 1, in: 1...4)
    guard Self.bitCounts.contains(bits) else {
      throw SpecificationError("'\(specification)': bits is 1, 2 or 4, not '\(bits)'")
    }
    let grouping = try Grouping(specification, key: "group", default: .elements(1024))
    if case .elements(let count) = grouping, count > Self.longestGroup {
      throw SpecificationError("'\(specification)': at most \(Self.longestGroup) values are rotated together, not \(count)")
    }
    self.init(
      bits: bits, grouping: grouping, scale: try specification.choice("scale", default: Scale.leastError),
      feedback: Float(try specification.number("feedback", default: 0.25, in: 0.001...1)))
  }

  public var specification: String {
    "rotated:bits=\(bits),group=\(grouping),scale=\(scale.rawValue),feedback=\(feedback == 1 ? "1" : "\(feedback)")"
  }

  public var typicalContraction: Double? { bits == 1 ? 0.64 : bits == 2 ? 0.88 : 0.99 }

  public func codeByteCount(of count: Int) -> Int {
    count == 0 ? 0 : 4 + 4 * bits * ((RotatedLoops.size(of: count) + 31) / 32)
  }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? { loops.encode(gradient, residual, count: count, into: code) ? codeByteCount(of: count) : nil }

  public func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) {
    withUnsafePointer(to: code) { loops.decode($0, codeCount: 1, count: count, into: values, adds: false) }
  }

  public func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    withUnsafePointer(to: code) { loops.decode($0, codeCount: 1, count: count, into: values, adds: true) }
  }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) { loops.decode(codes, codeCount: codeCount, count: count, into: values, adds: false) }
}
