internal import Buffers
internal import Foundation

/// How the training samples are dealt to the clients of federated learning, each of which sees only its own.
///
/// Every sample belongs to one client. A pure function of the labels, the seed and the number of clients.
public enum ClientPartition: Hashable, Sendable {
  /// Equal shares of one random order: the samples of every client resemble the whole.
  case independent
  /// Each client holds the given number of classes; each class is dealt in equal shares to its clients.
  case byClass(Int)
  /// Clients get shares of each class drawn from a Dirichlet distribution: the smaller α, the more the clients differ.
  ///
  /// Source: Hsu et al. 2019; Yurochkin et al. 2019.
  case dirichlet(Double)

  /// The samples of each client, in ascending order.
  ///
  /// - Parameters:
  ///   - clientCount: The number of clients.
  ///   - labels: The label of each sample.
  ///   - classCount: The number of classes.
  ///   - seed: The seed of all randomness.
  /// - Throws: `DataError` if `clientCount` clients cannot all have samples, or cannot hold all classes.
  public func samples(ofClients clientCount: Int, labels: [Int32], classCount: Int, seed: UInt64) throws -> [[Int32]] {
    guard clientCount <= labels.count else {
      throw DataError("\(clientCount) clients cannot share \(labels.count) training samples; every client needs one at least")
    }
    let shuffled = SampleOrder(count: labels.count, seed: seed, purpose: .clientPartition).epoch(0)
    let clients: [[Int32]]
    switch self {
    case .independent:
      clients = Partition(count: labels.count, into: clientCount).ranges.map { Array(shuffled[$0]) }
    case .byClass(let classes):
      clients = try Self.deal(
        shuffled.grouped(by: labels, classCount), to: clientCount, classesOfClient: classes)
    case .dirichlet(let alpha):
      clients = Self.deal(shuffled.grouped(by: labels, classCount), to: clientCount, alpha: alpha, seed: seed)
    }
    return clients.map { $0.sorted() }
  }

  /// Deals every class to a number of places in proportion to its size; client *i* has the places i, i + C, i + 2C, ….
  private static func deal(
    _ classes: [[Int32]], to clientCount: Int, classesOfClient: Int
  ) throws -> [[Int32]] {
    let present = classes.filter { !$0.isEmpty }
    guard classesOfClient <= present.count else {
      throw DataError(
        "a client cannot hold \(classesOfClient) classes of \(present.count); write by-class:\(present.count) at most")
    }
    let placeCount = clientCount * classesOfClient
    guard placeCount >= present.count else {
      throw DataError(
        "\(clientCount) clients of \(classesOfClient) classes cannot hold \(present.count) classes; "
          + "ask for \((present.count + classesOfClient - 1) / classesOfClient) clients or more (--clients)")
    }
    var clients = Array(repeating: [Int32](), count: clientCount)
    var place = 0
    for (samples, count) in zip(present, places(of: present.map(\.count), among: placeCount, atMost: clientCount)) {
      guard count <= samples.count else {
        throw DataError(
          "\(clientCount) clients are too many for by-class:\(classesOfClient): a class of \(samples.count) samples "
            + "would be dealt to \(count) of them")
      }
      for range in Partition(count: samples.count, into: count).ranges {
        clients[place % clientCount] += samples[range]
        place += 1
      }
    }
    return clients
  }

  /// Places in proportion to sizes, by largest remainder; each class has at least one, and at most one per client.
  private static func places(of sizes: [Int], among placeCount: Int, atMost limit: Int) -> [Int] {
    let total = sizes.reduce(0, +)
    var places = sizes.map { min(max($0 * placeCount / total, 1), limit) }
    func need(_ index: Int) -> Double { Double(sizes[index] * placeCount) / Double(total) - Double(places[index]) }
    while places.reduce(0, +) < placeCount {
      guard let next = sizes.indices.filter({ places[$0] < limit }).max(by: { need($0) < need($1) }) else { break }
      places[next] += 1
    }
    while places.reduce(0, +) > placeCount {
      guard let next = sizes.indices.filter({ places[$0] > 1 }).min(by: { need($0) < need($1) }) else { break }
      places[next] -= 1
    }
    return places
  }

  /// Deals every class by its own shares; a client that got nothing takes a sample from the client that has most.
  private static func deal(_ classes: [[Int32]], to clientCount: Int, alpha: Double, seed: UInt64) -> [[Int32]] {
    var clients = Array(repeating: [Int32](), count: clientCount)
    for (number, samples) in classes.enumerated() where !samples.isEmpty {
      var random = GammaDistribution(alpha, seed: seed, stream: number)
      let logarithms = (0..<clientCount).map { _ in random.nextLogarithm() }
      let largest = logarithms.max()!
      let weights = logarithms.map { exp($0 - largest) }
      let total = weights.reduce(0, +)
      var (sum, start) = (0.0, 0)
      for client in 0..<clientCount {
        sum += weights[client]
        let end = client == clientCount - 1 ? samples.count : min(Int(sum / total * Double(samples.count)), samples.count)
        clients[client] += samples[start..<max(start, end)]
        start = max(start, end)
      }
    }
    for client in clients.indices where clients[client].isEmpty {
      let richest = clients.indices.max { (clients[$0].count, $1) < (clients[$1].count, $0) }!
      clients[client].append(clients[richest].removeLast())
    }
    return clients
  }
}

extension [Int32] {
  /// The samples of each class, in this order.
  fileprivate func grouped(by labels: [Int32], _ classCount: Int) -> [[Int32]] {
    var classes = Swift.Array(repeating: [Int32](), count: classCount)
    for sample in self { classes[Int(labels[Int(sample)])].append(sample) }
    return classes
  }
}
