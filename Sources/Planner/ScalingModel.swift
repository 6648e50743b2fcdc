/// The paper's model of a minibatch's time: what each rank computes, what ranks share, and what crosses the network.
///
/// With K ranks and minibatches of N samples, halved under double buffering:
///
///     T_calc(K) = (N/2 · T_frm + C · T_post)/K + T_upd          T_comm = T_float/Z
///     K̂ = (N/2 · T_frm + C · T_post)/(T_float/Z − T_upd)        where T_calc(K̂) = T_comm
///
/// It ignores latency and encoding time; ``StepPredictor`` includes them. Use it for trends, as the paper does.
///
/// Source: Seide et al. 2014, section 3.2, equation 4.
public struct ScalingModel: Hashable, Sendable {
  /// The samples of a minibatch over all ranks, N.
  public var minibatch: Int
  /// Seconds to compute the gradient of one sample, T_frm.
  public var frameSeconds: Double
  /// Seconds of all passes over the gradient that the owners of shards share, C · T_post.
  public var postSeconds: Double
  /// Seconds that every rank spends per exchange, independent of the number of ranks, T_upd: adding the update to the model.
  public var updateSeconds: Double
  /// Seconds of an exchange of all gradients as floats, T_float; with owners of shards, independent of the number of ranks.
  public var floatExchangeSeconds: Double

  /// A model with these costs.
  public init(
    minibatch: Int, frameSeconds: Double, postSeconds: Double = 0, updateSeconds: Double = 0, floatExchangeSeconds: Double
  ) {
    self.minibatch = minibatch
    self.frameSeconds = frameSeconds
    self.postSeconds = postSeconds
    self.updateSeconds = updateSeconds
    self.floatExchangeSeconds = floatExchangeSeconds
  }

  /// Where adding ranks stops paying.
  public enum Saturation: Hashable, Sendable {
    /// K̂: the number of ranks at which computing takes as long as the exchange.
    case ranks(Double)
    /// The exchange takes no longer than the fixed cost T_upd: for any number of ranks, the network is never the limit.
    ///
    /// The least time of a minibatch is then 2 T_upd with double buffering, and T_upd + T_float/Z, which is less, without.
    case fixedCostLimited
  }

  /// K̂ for gradients that are `ratio` times smaller than floats, Z; 1 for floats themselves.
  ///
  /// Without double buffering nothing is hidden and nothing saturates; K̂ is then where the time that ranks share equals the
  /// time that they do not, with N in place of N/2.
  public func saturation(ratio: Double, isDoubleBuffered: Bool) -> Saturation {
    let shared = Double(minibatch) * (isDoubleBuffered ? 0.5 : 1) * frameSeconds + postSeconds
    let excess = floatExchangeSeconds / ratio - updateSeconds
    return excess > 0 ? .ranks(shared / excess) : .fixedCostLimited
  }

  /// Seconds of a minibatch on `ranks` ranks.
  ///
  /// One rank exchanges nothing, but with double buffering it still computes two half batches.
  public func minibatchSeconds(ranks: Int, ratio: Double, isDoubleBuffered: Bool) -> Double {
    let exchange = ranks == 1 ? 0 : floatExchangeSeconds / ratio
    guard isDoubleBuffered else {
      return (Double(minibatch) * frameSeconds + postSeconds) / Double(ranks) + updateSeconds + exchange
    }
    let half = (Double(minibatch) / 2 * frameSeconds + postSeconds) / Double(ranks) + updateSeconds
    return 2 * max(half, exchange)
  }

  /// How many times faster `ranks` ranks are than one without exchange and double buffering.
  public func speedUp(ranks: Int, ratio: Double, isDoubleBuffered: Bool) -> Double {
    minibatchSeconds(ranks: 1, ratio: 1, isDoubleBuffered: false)
      / minibatchSeconds(ranks: ranks, ratio: ratio, isDoubleBuffered: isDoubleBuffered)
  }
}
