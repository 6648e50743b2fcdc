internal import Buffers

/// Which worker sends to which in a step; every rank finds the same by itself.
package struct GossipRoutes: Hashable, Sendable {
  /// Whom workers send to.
  package enum Kind: Hashable, Sendable {
    /// All neighbours, in every step.
    case graph(GossipGraph)
    /// The worker 2^(t mod ⌈log₂K⌉) places on, in step t.
    case onePeer
    /// One of the others, drawn anew by each in every step.
    case random
    /// Both of a pair each other, in every `every`-th step; all are paired anew at random, and of an odd number one stays alone.
    case pairs(every: Int)
  }

  /// Whom workers send to.
  package let kind: Kind
  /// The number of workers.
  package let count: Int
  private let seed: UInt64

  /// Routes between `count` workers; `seed` is that of what is drawn.
  package init(_ kind: Kind, count: Int, seed: UInt64) { (self.kind, self.count, self.seed) = (kind, count, seed) }

  /// Whether step `step` is one in which workers send.
  package func exchanges(in step: Int) -> Bool {
    if case .pairs(let every) = kind { (step + 1) % every == 0 } else { true }
  }

  /// By sender, those that it sends to in step `step`, in ascending order.
  package func receivers(in step: Int) -> [[Int]] {
    let none = Array(repeating: [Int](), count: count)
    guard count > 1, exchanges(in: step) else { return none }
    switch kind {
    case .graph(let graph): return graph.neighbours
    case .onePeer:
      let distance = 1 << (step % (count - 1).bitWidthOfValue)
      return (0..<count).map { [($0 + distance) % count] }
    case .random:
      let random = Philox(seed: seed, purpose: .neighbours, step: step)
      return (0..<count).map { [($0 + 1 + random.number(Int($0), below: count - 1)) % count] }
    case .pairs(let every):
      var receivers = none
      let order = permutation(of: step / every)
      for pair in 0..<count / 2 {
        let (a, b) = (order[2 * pair], order[2 * pair + 1])
        (receivers[a], receivers[b]) = ([b], [a])
      }
      return receivers
    }
  }

  /// By receiver, those that send to it in step `step`, in ascending order.
  package func senders(in step: Int) -> [[Int]] {
    if case .graph(let graph) = kind { return graph.neighbours }
    var senders = Array(repeating: [Int](), count: count)
    for (sender, receivers) in receivers(in: step).enumerated() {
      for receiver in receivers { senders[receiver].append(sender) }
    }
    return senders
  }

  /// The workers in the order of a round, drawn with equal probability.
  private func permutation(of round: Int) -> [Int] {
    let random = Philox(seed: seed, purpose: .neighbours, step: round)
    var order = Array(0..<count)
    for place in stride(from: count - 1, to: 0, by: -1) { order.swapAt(place, random.number(place, below: place + 1)) }
    return order
  }
}

extension GossipRoutes {
  /// The end of the run if rank `rank` tells with what it sends from step `step` on that the run is to end: the first step before which
  /// all ranks know, or `limit` if that comes before.
  ///
  /// Of several ends that are told, the first one is known to all when it comes; so all end with the same step, and no rank waits for a
  /// message that is not sent. Worker w is on rank w mod ranks.
  package func end(toldBy rank: Int, from step: Int, among rankCount: Int, limit: Int) -> Int {
    var (knowing, step) = (Set([rank]), step)
    while step < limit {
      let receivers = receivers(in: step)
      let told = (0..<count).filter { knowing.contains($0 % rankCount) }.flatMap { receivers[$0] }
      knowing.formUnion(told.map { $0 % rankCount })
      step += 1
      if knowing.count == rankCount { return step }
    }
    return limit
  }

  /// The messages that workers of rank `rank` exchange with each other rank in step `step`: one of a worker to each rank that has some
  /// of its receivers.
  package func messageCounts(of rank: Int, among rankCount: Int, in step: Int) -> (sent: [Int], received: [Int]) {
    var sent = Array(repeating: 0, count: rankCount)
    var received = sent
    for (sender, receivers) in receivers(in: step).enumerated() {
      let ranks = Set(receivers.map { $0 % rankCount }).subtracting([sender % rankCount])
      if sender % rankCount == rank {
        for other in ranks { sent[other] += 1 }
      } else if ranks.contains(rank) {
        received[sender % rankCount] += 1
      }
    }
    return (sent, received)
  }

  /// The most messages that a rank may receive in a step, and send.
  package func mostMessages(of rank: Int, among rankCount: Int) -> (received: Int, sent: Int) {
    let localCount = count / rankCount
    switch kind {
    case .graph:
      let counts = messageCounts(of: rank, among: rankCount, in: 0)
      return (counts.received.reduce(0, +), counts.sent.reduce(0, +))
    case .random: return (count - localCount, localCount)
    case .onePeer, .pairs: return (localCount, localCount)
    }
  }
}

extension Int {
  /// The bits that a number above 0 has: ⌈log₂(n + 1)⌉.
  fileprivate var bitWidthOfValue: Int { Int.bitWidth - leadingZeroBitCount }
}

extension Philox {
  /// A number below `bound`, drawn with equal probability but for 2⁻³²·bound.
  fileprivate func number(_ index: Int, below bound: Int) -> Int {
    Int(word(index).multipliedFullWidth(by: UInt32(bound)).high)
  }
}
