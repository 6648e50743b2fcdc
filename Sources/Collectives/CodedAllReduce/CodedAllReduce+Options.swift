internal import Buffers
public import Codecs
public import Transport

// How an exchange is driven, and what it says of itself.
extension CodedAllReduce {
  /// How an exchange is driven.
  public struct Options {
    /// Who adds up before anything is encoded.
    public var topology = Topology.flat
    /// How fast the links between hosts are, the same on all ranks: buckets are as small as is worth while there.
    ///
    /// It matters where an exchange is under way while the gradient is still computed; nil for buckets of the usual size.
    public var linkSpeed: LinkSpeed?
    /// Whether ``CodedAllReduce/discard()`` is possible, which costs a copy of the residuals.
    public var isRestorable = false
    /// Whether sums are decoded as they come, into memory of the exchange's own, so that a delivery only has to move them.
    ///
    /// It pays where a core is spare while the model computes; the delivery then reads 4 bytes a value more.
    public var decodesAhead = false
    /// The codec by whose codes the shards are balanced; that of the exchange where nil.
    ///
    /// Exchanges by several codecs then have the same owners, and what owners remember stays where it is.
    public var ownership: (any Codec)?
    /// What the random numbers of a stochastic code follow from, the same on all ranks.
    public var seed: UInt64 = 1
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

  /// What becomes of the sums.
  enum Gate {
    /// They wait.
    case closed
    /// They are decoded.
    case open(Sink)
    /// They are dropped.
    case dropping
  }
}
