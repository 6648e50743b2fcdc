internal import Buffers
internal import Datasets

/// The clients of each round, and which of their samples they take.
///
/// In a round some clients are sampled, by a permutation of all that every rank computes. Each takes its share of a minibatch of its own
/// samples in each step, in its own order, which begins anew and in another way when they are used up. Rank r trains those in the places r,
/// r + K, … of the round, one after another. If all take part, each is always at the same place.
/// Source: algorithms §9.2; McMahan et al. 2017, algorithm 1.
package struct RoundClients: Hashable {
  /// The samples that each client has given.
  package private(set) var taken: [Int]
  /// The samples of a step at each place of a round.
  private let sizes: [Int]
  private let seed: UInt64

  /// Rounds of `sampledCount` of `clientCount` clients, which share `minibatch` samples in a step.
  package init(clientCount: Int, sampledCount: Int, minibatch: Int, seed: UInt64) {
    taken = Array(repeating: 0, count: clientCount)
    sizes = Partition(count: minibatch, into: sampledCount).ranges.map(\.count)
    self.seed = seed
  }

  /// The number of clients of a round.
  package var sampledCount: Int { sizes.count }

  /// The clients of round `number`, by place.
  package func sampled(in number: Int) -> [Int] {
    guard sampledCount < taken.count else { return Array(taken.indices) }
    let order = SampleOrder(count: taken.count, seed: seed, purpose: .clientSampling).epoch(number)
    return order.prefix(sampledCount).map(Int.init)
  }

  /// The places of rank `rank` of `rankCount`.
  package func places(of rank: Int, among rankCount: Int) -> [Int] {
    Array(stride(from: rank, to: sampledCount, by: rankCount))
  }

  /// The samples that `client`, at `place` of a round, takes in the step that comes `offset` steps after the first of the round.
  package func samples(of client: Int, at place: Int, offset: Int) -> Range<Int> {
    let start = taken[client] + offset * sizes[place]
    return start..<start + sizes[place]
  }

  /// Goes on after round `number` of `stepCount` steps.
  package mutating func advance(past number: Int, stepCount: Int) {
    advance(past: number) { _, _ in stepCount }
  }

  /// The steps in which `client`, which holds `count` samples, makes `epochs` passes over them at `place` of a round.
  ///
  /// The last may begin another pass.
  package func steps(for epochs: Double, over count: Int, at place: Int) -> Int {
    Int((epochs * Double(count) / Double(max(sizes[place], 1))).rounded(.up))
  }

  /// Goes on after round `number`, in which a client took `steps` steps at its place.
  package mutating func advance(past number: Int, steps: (_ client: Int, _ place: Int) -> Int) {
    for (place, client) in sampled(in: number).enumerated() { taken[client] += steps(client, place) * sizes[place] }
  }

  /// How much each client has given, for checkpoints.
  package var counter: String { taken.map(String.init).joined(separator: " ") }

  /// Restores a counter; nothing changes if it is of other clients.
  package mutating func restore(_ counter: String?) {
    let numbers = (counter ?? "").split(separator: " ").compactMap { Int($0) }
    if numbers.count == taken.count { taken = numbers }
  }
}
