internal import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import MPI
internal import Trainer

/// Measures what handing data from rank to rank costs when all do it at once: real exchanges of floats, from a few to all of the
/// model's.
struct ExchangeProbe {
  let rounds: Rounds
  let hosts: HostMap
  let layout: TensorLayout
  /// The most ranks that share a host.
  let ranksPerHost: Int
  /// What a rank does between exchanges: it computes, and meets the others.
  let work: () throws -> Void

  /// How far to go.
  struct Effort {
    /// For each size.
    var rounds: Rounds.Effort
    /// The largest size is the one before an exchange would take longer.
    var longestSeconds: Double
  }

  /// Seconds of an exchange of next to nothing, and of more by the bytes that leave a host (or a rank, where there is one host).
  struct Result {
    var emptySeconds: Double
    var points: [CostCurve.Point]
    /// The largest exchange that was measured, as a share of the model's values.
    var largestShare: Double
  }

  /// Measures exchanges of growing parts of the layout, beginning with as many bytes as the smallest code has.
  ///
  /// Collective.
  func measure(_ effort: Effort, smallestShare: Double, progress: (String) -> Void) throws -> Result {
    let ranks = hosts.world.count
    let empty = try floats(TensorLayout((0..<ranks).map { ("rank.\($0)", [4]) }), effort.rounds)
    var result = Result(emptySeconds: empty.seconds, points: [CostCurve.Point(0, 0)], largestShare: 0)
    var share = smallestShare
    while true {
      let part = layout.part(share)
      progress("an exchange of \(withPrefix(Double(4 * part.count)))B")
      let (bytes, seconds) = try floats(part, effort.rounds)
      let isNew = bytes > result.points.last?.amount ?? 0
      if isNew { result.points.append(.init(bytes, max(0, seconds - empty.seconds))) }
      result.largestShare = share
      guard share < 1 else { return result }
      let next = min(1, 4 * share)
      // Bytes take their time in proportion; what is fixed makes this estimate too high, never too low.
      guard seconds * next / share <= effort.longestSeconds || !isNew else { return result }
      share = next
    }
  }

  /// The bytes and the seconds of an exchange of floats in `layout`, without an update.
  ///
  /// Memory that ranks share is short in many containers: what an exchange had is given back before the next has its own.
  private func floats(_ layout: TensorLayout, _ effort: Rounds.Effort) throws -> (bytes: Double, seconds: Double) {
    try hosts.releasingMemory { try measureFloats(layout, effort) }
  }

  private func measureFloats(_ layout: TensorLayout, _ effort: Rounds.Effort) throws -> (bytes: Double, seconds: Double) {
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let exchange = try CodedAllReduce(None(), layout: layout, gradient: gradient)
    let own = exchange.predictedTraffic
    let isOneHost = hosts.remoteRanks.isEmpty
    let bytes = try rounds.largest(Double(isOneHost ? own.hostBytesSent : own.networkBytesSent * ranksPerHost))
    var step = 0
    let seconds = try rounds.secondsAdded(to: work, effort) {
      // What becomes of the sum is not the exchange's business.
      try exchange.run(step: step, into: .update { _, _ in })
      step += 1
    }
    return (bytes, seconds)
  }
}

extension TensorLayout {
  /// A layout with about `share` of the values: fewer rows of each tensor, one at least; all of it for a share of 1.
  func part(_ share: Double) -> TensorLayout {
    guard share < 1 else { return self }
    return TensorLayout(
      tensors.map { tensor in
        guard let rows = tensor.shape.first else { return (tensor.name, tensor.shape) }
        return (tensor.name, [max(min(rows, 1), Int((Double(rows) * share).rounded()))] + tensor.shape.dropFirst())
      })
  }
}
