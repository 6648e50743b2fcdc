internal import Buffers
public import Codecs
public import Transport

// Options of an exchange, and the fate of its sums.
extension CodedAllReduce {
  /// Options of an exchange.
  public struct Options {
    /// Which ranks add their gradients before encoding.
    public var topology = Topology.flat
    /// The speed of the links between hosts, the same on all ranks: buckets are as small as pays off on them.
    ///
    /// It matters if an exchange is under way while the gradient is still computed; nil for buckets of the usual size.
    public var linkSpeed: LinkSpeed?
    /// Whether ``CodedAllReduce/discard()`` is possible, which costs a copy of the residuals.
    public var isRestorable = false
    /// Whether a group that is not finite arrives everywhere as NaN, instead of as zeros; the same on all ranks.
    public var passesNonFinite = false
    /// Whether sums are decoded on arrival, into memory of the exchange, so that a delivery only has to move them.
    ///
    /// It pays off if a core is idle while the model computes; the delivery then reads 4 more bytes per value.
    public var decodesAhead = false
    /// The codec by whose codes the shards are balanced; nil for that of the exchange.
    ///
    /// Exchanges with several codecs then have the same owners, and the owners' state stays in place.
    public var ownership: (any Codec)?
    /// The seed of the random numbers of a stochastic code, the same on all ranks.
    public var seed: UInt64 = 1
    /// The streams of the codes of ranks and owners; others for each slice of a model.
    public var streams = CodeStreams()
    /// Called by an owner with each piece of the sum before it is encoded.
    ///
    /// It gets a range of the flat buffer and its values, which it may change; every value comes once per exchange.
    public var ownerTransform: ((Range<Int>, UnsafeMutablePointer<Float>) -> Void)?
    /// Called after each unit of work and each wait.
    public var observer: ((ExchangeEvent) -> Void)?
    /// Called before each unit of work; tests insert random delays here, which must not change any bit.
    public var pause: (() -> Void)?
    /// Creates the default options.
    public init() {}
  }

  /// What happens to the sums.
  enum Gate {
    /// They wait.
    case closed
    /// They are decoded.
    case open(Sink)
    /// They are dropped.
    case dropping
  }
}
