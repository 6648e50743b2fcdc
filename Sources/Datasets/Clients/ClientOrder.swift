internal import Buffers

/// The order in which an epoch visits samples that belong to clients: some clients in each step, each with its own samples.
///
/// Clients take turns in a random order, and in a new one when all have had their turn. A client gives its samples in its own
/// order for each epoch, starting over when they are used up. A pure function of the seed and the epoch: the samples of a step
/// do not depend on the number of ranks.
public struct ClientOrder: Sendable {
  /// The samples of each client.
  public let clients: [[Int32]]
  /// The number of clients per step.
  public let sampledCount: Int
  /// Whether, if all share each step, a client has the same place in all of them, and the same order if a step has all samples.
  public var keepsPlaces = false
  private let seed: UInt64

  /// Orders for these clients, of which `sampledCount` share a step.
  public init(_ clients: [[Int32]], sampledCount: Int, seed: UInt64) {
    require((1...clients.count).contains(sampledCount), "\(sampledCount) of \(clients.count) clients cannot share a step")
    require(clients.allSatisfy { !$0.isEmpty }, "a client has no samples")
    self.clients = clients
    self.sampledCount = sampledCount
    self.seed = seed
  }

  /// The samples of epoch `number`, step by step; within a step client by client, in shares as equal as possible.
  public func epoch(_ number: Int, count: Int, minibatch: Int) -> [Int32] {
    var samples: [Int32] = []
    samples.reserveCapacity(count)
    let turns = SampleOrder(count: clients.count, seed: seed, purpose: .clientSampling)
    // Each epoch reserves more turns of all clients than it can use, so that no two epochs share one.
    var (turn, place) = (number << 16, 0)
    let keepsPlaces = keepsPlaces && sampledCount == clients.count
    func turnOrder(_ turn: Int) -> [Int32] { keepsPlaces ? Array(0..<Int32(clients.count)) : turns.epoch(turn) }
    let ownEpoch = keepsPlaces && minibatch >= count ? 0 : number
    var order = turnOrder(turn)
    var used = Array(repeating: 0, count: clients.count)
    var own: [Int: [Int32]] = [:]
    while samples.count < count {
      let step = min(minibatch, count - samples.count)
      for share in Partition(count: step, into: sampledCount).ranges {
        if place == order.count {
          (turn, place) = (turn + 1, 0)
          order = turnOrder(turn)
        }
        let client = Int(order[place])
        place += 1
        let mine = own[client] ?? self.samples(of: client, epoch: ownEpoch)
        own[client] = mine
        for _ in share {
          samples.append(mine[used[client] % mine.count])
          used[client] += 1
        }
      }
    }
    return samples
  }

  /// The samples of a client in its own order of an epoch.
  public func samples(of client: Int, epoch: Int) -> [Int32] {
    let mine = clients[client]
    return SampleOrder(count: mine.count, seed: seed, stream: client + 1).epoch(epoch).map { mine[Int($0)] }
  }
}
