public import Buffers
internal import Kernels

/// The context in which a group is encoded: the address of the random numbers of a stochastic code.
///
/// It is unique to each group encoded in a run, over all ranks, slices of a model and trials of a tuner, and does not depend on timing
/// or placement, so that runs are bitwise reproducible.
public struct EncodingContext: Hashable, Sendable {
  /// The seed of all random numbers.
  public var seed: UInt64
  /// The exchange: the training step or, below 2³², a number that no step of the run has.
  public var step: Int
  /// The stream of codes, below 2²⁴; different for every contributor and every owner (``CodeStreams``).
  public var stream: Int
  /// The index of the tensor in its layout.
  public var tensor: Int
  /// The index of the group in its tensor.
  public var group: Int

  /// Creates the address of one group.
  public init(seed: UInt64 = 1, step: Int = 0, stream: Int = 0, tensor: Int = 0, group: Int = 0) {
    (self.seed, self.step, self.stream, self.tensor, self.group) = (seed, step, stream, tensor, group)
  }

  /// Whether an owner encodes a sum, or what else it sends back; otherwise a rank encodes its own contribution.
  public var isSum: Bool { !stream.isMultiple(of: 2) }

  /// The random numbers of the group for `purpose`, one for each of its values (at most 2¹⁸).
  public func random(_ purpose: Philox.Purpose) -> Numbers {
    Numbers(philox: Philox(seed: seed, purpose: purpose, step: step, stream: stream), tensor: tensor, group: group)
  }

  /// The random numbers of one group.
  public struct Numbers: Sendable {
    private static let quadsOfGroup = 1 << 16
    fileprivate let philox: Philox
    fileprivate let tensor: Int
    fileprivate let group: Int

    /// Four random words at once, for the values `4 * quad` to `4 * quad + 3` of the group.
    public func words(quad: Int) -> SIMD4<UInt32> {
      philox.words(quad: group * Numbers.quadsOfGroup + quad, tensor: tensor)
    }

    /// Where the numbers of the group begin, for the vector loops.
    var start: RandomStart {
      RandomStart(counter: philox.counter(quad: group * Numbers.quadsOfGroup, tensor: tensor), key: philox.key)
    }

    /// The random number of value `index` of the group, uniform in [0, 1 − 2⁻²⁴], exact in fp32.
    public func uniform(_ index: Int) -> Float { Float(words(quad: index >> 2)[index & 3] >> 8) * 0x1p-24 }
  }
}
