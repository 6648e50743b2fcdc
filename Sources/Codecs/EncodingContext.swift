public import Buffers

/// What a group is encoded for: the address of the random numbers of a stochastic code.
///
/// No two groups that are encoded in a run have the same one, and nothing in it depends on timing or placement, so that a run is the
/// same bits each time.
public struct EncodingContext: Hashable, Sendable {
  /// What everything random follows from.
  public var seed: UInt64
  /// The step of training.
  public var step: Int
  /// Who encodes, and for what: below 2²⁴, another number for every contributor and every owner.
  public var stream: Int
  /// The number of the tensor in its layout.
  public var tensor: Int
  /// The number of the group in its tensor.
  public var group: Int

  /// The address of one group.
  public init(seed: UInt64 = 1, step: Int = 0, stream: Int = 0, tensor: Int = 0, group: Int = 0) {
    (self.seed, self.step, self.stream, self.tensor, self.group) = (seed, step, stream, tensor, group)
  }

  /// The random numbers of the group for `purpose`, one for each of its values, of which it has at most 2¹⁸.
  public func random(_ purpose: Philox.Purpose) -> Numbers {
    Numbers(philox: Philox(seed: seed, purpose: purpose, step: step, stream: stream), tensor: tensor, group: group)
  }

  /// The random numbers of one group.
  public struct Numbers: Sendable {
    private static let quadsOfGroup = 1 << 16
    fileprivate let philox: Philox
    fileprivate let tensor: Int
    fileprivate let group: Int

    /// Four random words at once: those of the values `4 * quad` to `4 * quad + 3` of the group.
    public func words(quad: Int) -> SIMD4<UInt32> {
      philox.words(quad: group * Numbers.quadsOfGroup + quad, tensor: tensor)
    }

    /// The number of value `index` of the group, uniform in [0, 1 − 2⁻²⁴], exact in fp32.
    public func uniform(_ index: Int) -> Float { Float(words(quad: index >> 2)[index & 3] >> 8) * 0x1p-24 }
  }
}
