internal import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import MPI
internal import Strategies
internal import Trainer
internal import Transport

/// Measures the cost of passing data between ranks when all do it at once.
///
/// It times real exchanges of floats, from a few of the model's values to all of them.
struct ExchangeProbe {
  let repetitions: Repetitions
  let hosts: HostMap
  let layout: TensorLayout
  /// The most ranks that share a host.
  let ranksPerHost: Int
  /// What a rank does between exchanges: it computes, and meets the others.
  let work: () throws -> Void

  /// How far to measure.
  struct Effort {
    /// The effort for each size.
    var repetitions: Repetitions.Effort
    /// The largest size is the last one before an exchange would take longer.
    var longestSeconds: Double
  }

  /// Seconds of a nearly empty exchange, and of larger ones by the bytes that leave a host (or a rank, if there is one host).
  struct Result {
    var emptySeconds: Double
    var points: [CostCurve.Point]
    /// The largest exchange that was measured, as a share of the model's values.
    var largestShare: Double
  }

  /// Measures exchanges of growing parts of the layout, starting with as many bytes as the smallest code has.
  ///
  /// Collective.
  func measure(_ effort: Effort, smallestShare: Double, progress: (String) -> Void) throws -> Result {
    let ranks = hosts.world.count
    let empty = try floats(TensorLayout((0..<ranks).map { ("rank.\($0)", [4]) }), effort.repetitions)
    var result = Result(emptySeconds: empty.seconds, points: [CostCurve.Point(0, 0)], largestShare: 0)
    var share = smallestShare
    while true {
      let part = layout.part(share)
      progress("an exchange of \(withPrefix(Double(4 * part.count)))B")
      let (bytes, seconds) = try floats(part, effort.repetitions)
      let isNew = bytes > result.points.last?.amount ?? 0
      if isNew { result.points.append(.init(bytes, max(0, seconds - empty.seconds))) }
      result.largestShare = share
      guard share < 1 else { return result }
      let next = min(1, 4 * share)
      // Bytes take time in proportion; the fixed part makes this estimate too high, never too low.
      guard seconds * next / share <= effort.longestSeconds || !isNew else { return result }
      share = next
    }
  }

  /// The bytes and the seconds of an exchange of floats in `layout`, without an update.
  ///
  /// Shared memory is scarce in many containers: the memory of an exchange is released before the next one gets its own.
  private func floats(_ layout: TensorLayout, _ effort: Repetitions.Effort) throws -> (bytes: Double, seconds: Double) {
    try hosts.releasingMemory { try measureFloats(layout, effort) }
  }

  private func measureFloats(_ layout: TensorLayout, _ effort: Repetitions.Effort) throws -> (bytes: Double, seconds: Double) {
    let gradient = try SharedGradient(count: layout.count, hosts: hosts)
    let exchange = try CodedAllReduce(Identity(), layout: layout, gradient: gradient)
    let own = exchange.predictedTraffic
    let isOneHost = hosts.remoteRanks.isEmpty
    let bytes = try repetitions.largest(Double(isOneHost ? own.hostBytesSent : own.networkBytesSent * ranksPerHost))
    var step = 0
    let seconds = try repetitions.secondsAdded(to: work, effort) {
      // What happens to the sum is not part of the exchange.
      try exchange.run(step: step, into: .update { _, _ in })
      step += 1
    }
    return (bytes, seconds)
  }
}

extension TensorLayout {
  /// A layout with about `share` of the values: fewer rows of each tensor, at least one; all of it for a share of 1.
  func part(_ share: Double) -> TensorLayout {
    guard share < 1 else { return self }
    return TensorLayout(
      tensors.map { tensor in
        guard let rows = tensor.shape.first else { return (tensor.name, tensor.shape) }
        return (tensor.name, [max(min(rows, 1), Int((Double(rows) * share).rounded()))] + tensor.shape.dropFirst())
      })
  }
}
