internal import Buffers
internal import Checkpoints

/// Which client's samples a worker takes next, if the training samples are dealt to clients.
///
/// Worker w of K has the clients w, w + K, w + 2K, …, and takes its next minibatch from the one that has given the fewest samples. A
/// client gives its samples in its own order, one minibatch after another, and begins anew when they are used up: a fast worker goes
/// through its own more often. All ranks know how much each client has given, from the pushes alone.
package struct WorkerClients: Hashable {
  /// The samples that each client has given.
  package private(set) var taken: [Int]
  private let workerCount: Int
  /// The samples of a minibatch of each worker.
  private let sizes: [Int]

  /// Clients of `workerCount` workers, each of which takes its share of `minibatch` samples.
  package init(clientCount: Int, workerCount: Int, minibatch: Int) throws(OptionError) {
    guard clientCount >= workerCount else {
      throw OptionError(
        "--clients \(clientCount) is less than the \(workerCount) workers, each of which takes samples of its own")
    }
    taken = Array(repeating: 0, count: clientCount)
    self.workerCount = workerCount
    sizes = Partition(count: minibatch, into: workerCount).ranges.map(\.count)
  }

  /// The samples of the next minibatch of a worker: its client, and their places in that client's order.
  package mutating func next(for worker: Int) -> (client: Int, places: Range<Int>) {
    let client = stride(from: worker, to: taken.count, by: workerCount).min { (taken[$0], $0) < (taken[$1], $1) }!
    let start = taken[client]
    taken[client] += sizes[worker]
    return (client, start..<taken[client])
  }

  /// Goes on after these numbers of minibatches of each worker.
  package mutating func advance(by counts: [Int]) {
    for (worker, count) in counts.enumerated() { for _ in 0..<count { _ = next(for: worker) } }
  }

  /// How much each client has given, for checkpoints.
  package var counter: String { taken.map(String.init).joined(separator: " ") }

  /// Restores a counter; nothing changes if it is of other clients.
  package mutating func restore(_ counter: String?) {
    let numbers = (counter ?? "").split(separator: " ").compactMap { Int($0) }
    if numbers.count == taken.count { taken = numbers }
  }
}

extension BatchLoader {
  /// The samples of minibatch `minibatch`, which `worker` takes: its share of a step, or of its own clients the next, if there are any.
  func batch(of minibatch: Int, for worker: Int, of workerCount: Int, from clients: inout WorkerClients?) -> Minibatch {
    let (step, share) = minibatch.quotientAndRemainder(dividingBy: workerCount)
    guard let next = clients?.next(for: worker) else { return batch(at: step, share: share, of: workerCount) }
    return batch(of: next.client, at: next.places, in: step, share: share, of: workerCount)
  }
}
