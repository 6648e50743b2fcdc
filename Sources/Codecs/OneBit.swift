internal import Kernels

/// One bit per value: each group is sent as the signs of its values and two means; the loss is the residual.
///
/// The code of a group of n values v = (gradient + residual) + 0.0, all numbers little endian:
///
///     fp32    a0   mean of the negative values, 0 if there are none
///     fp32    a1   mean of the others, 0 if there are none
///     uint32  × ⌈n/32⌉: bit e % 32 of word e / 32 is 1 if and only if v[e] >= 0; the bits after the last value are 0
///
/// A value decodes to a1 or a0 by its bit, and leaves the residual v − a1 or v − a0, rounded once. The means are sums over
/// 32 lanes (lane l adds the elements l, l + 32, … in fp32), combined by halves (16, 8, 4, 2, 1) and divided by the count, so
/// that every processor finds the same bits. A group of up to three values is sent raw.
///
/// Source: Seide et al. 2014, "1-Bit stochastic gradient descent and its application to data-parallel distributed training of
/// speech DNNs"; threshold 0, with the residual carried forward as in the paper's prose (its printed formula drops the old
/// one).
/// - Cost: 8 + 4⌈n/32⌉ bytes for a group of n values, a 32nd of the floats if it is long.
public struct OneBit: Codec {
  public let grouping: Grouping
  public let name = "one-bit"
  public let isIdentity = false
  public var specification: String { "one-bit:group=\(grouping)" }
  /// As measured on changes of ten steps (frontier F1.2, F10).
  public let typicalContraction: Double? = 0.5

  /// Creates the codec with two means for each group of `grouping`.
  public init(grouping: Grouping = .row) { self.grouping = grouping }

  public func codeByteCount(of count: Int) -> Int { 8 + 4 * ((count + 31) / 32) }

  public func encode(
    gradient: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer,
    context: EncodingContext
  ) -> Int? {
    OneBitLoops.encode(gradient, residual, count: count, into: code) ? codeByteCount(of: count) : nil
  }

  public func decode(
    _ code: UnsafeRawPointer, byteCount: Int, count: Int, setting values: UnsafeMutablePointer<Float>, streaming: Bool
  ) { OneBitLoops.decode(code, count: count, setting: values, streaming: streaming) }

  public func decode(_ code: UnsafeRawPointer, byteCount: Int, count: Int, addingTo values: UnsafeMutablePointer<Float>) {
    OneBitLoops.decode(code, count: count, addingTo: values)
  }

  public func decodeSum(
    _ codes: UnsafePointer<UnsafeRawPointer>, codeCount: Int, count: Int, into values: UnsafeMutablePointer<Float>
  ) { OneBitLoops.decodeSum(codes, codeCount: codeCount, count: count, into: values) }
}
