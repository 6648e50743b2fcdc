public import Buffers
public import Codecs

// How an exchange is driven, and what it says of itself.
extension GradientExchange {
  /// How an exchange is driven.
  public struct Options {
    /// Who adds up before anything is encoded.
    public var topology = Topology.flat
    /// How fast the links between hosts are, the same on all ranks: buckets are as small as is worth while there.
    ///
    /// It matters where an exchange is under way while the gradient is still computed; nil for buckets of the usual size.
    public var linkSpeed: LinkSpeed?
    /// Whether ``GradientExchange/discard()`` is possible, which costs a copy of the residuals.
    public var isRestorable = false
    /// Whether sums are decoded as they come, into memory of the exchange's own, so that a delivery only has to move them.
    ///
    /// It pays where a core is spare while the model computes; the delivery then reads 4 bytes a value more.
    public var decodesAhead = false
    /// The codec by whose codes the stripes are balanced; that of the exchange where nil.
    ///
    /// Exchanges by several codecs then have the same owners, and what owners remember stays where it is.
    public var ownership: (any Codec)?
    /// Called by an owner with each piece of the sum, before it is encoded.
    ///
    /// It gets a range of the flat buffer and its values, which it may change; every value comes once in an exchange.
    public var ownerTransform: ((Range<Int>, UnsafeMutablePointer<Float>) -> Void)?
    /// Told of every unit of work and every wait.
    public var observer: ((ExchangeEvent) -> Void)?
    /// Called before each unit of work; tests put random delays here, which must change no bit.
    public var pause: (() -> Void)?
    /// The usual options.
    public init() {}
  }

  /// Where the aggregated gradient goes; all ranks choose the same kind.
  public enum Destination {
    /// Over the gradient itself, as in `MPI_IN_PLACE`; only with ``GradientExchange/run(step:samples:into:)``.
    ///
    /// Inside a host this is the cheapest for floats: an owner writes the sum where each rank wants it, and nobody reads it again.
    case inPlace
    /// Into a buffer of the layout's length.
    case buffer(FloatBuffer)
    /// To a closure, piece by piece, every value once: the update of the model while the values are in the cache.
    ///
    /// Pieces come in any order; the closure must treat each value by itself.
    case update((Range<Int>, UnsafePointer<Float>) -> Void)
  }

  /// What a turn of the work loop did.
  public enum Progress {
    /// A unit of work; there may be more.
    case busy
    /// Nothing: others are awaited, or the gradient, or the delivery.
    case idle
    /// The exchange has ended.
    case done
  }

  /// Time spent, by kind of work.
  public struct Timing: Sendable {
    /// Encoding contributions.
    public var encode = Duration.zero
    /// Decoding, adding and encoding as an owner.
    public var sum = Duration.zero
    /// Decoding sums, with the update that is fused into it.
    public var decode = Duration.zero
    /// Waiting for others, in ``GradientExchange/deliver(into:)`` and ``GradientExchange/discard()``.
    public var wait = Duration.zero
  }

  /// What becomes of the sums.
  enum Gate {
    /// They wait.
    case closed
    /// They are decoded.
    case open(Destination)
    /// They are dropped.
    case dropping
  }
}
