import Buffers
import Datasets
import Foundation
import Testing

/// Training samples as federated learning has them.
@Suite struct ClientsTests {
  /// 1000 samples of 10 classes, of which three have none and class 7 has most.
  static let labels: [Int32] = (0..<1000).map { $0 % 4 == 0 ? 7 : Int32([0, 1, 2, 4, 5, 6, 8, 9][$0 % 8]) }

  private static func clients(_ partition: ClientPartition, _ count: Int, seed: UInt64 = 5) throws -> [[Int32]] {
    try partition.samples(ofClients: count, labels: labels, classCount: 10, seed: seed)
  }

  private static func classes(_ samples: [Int32]) -> Set<Int32> { Set(samples.map { labels[Int($0)] }) }

  @Test(
    arguments: [ClientPartition.independent, .byClass(1), .byClass(3), .dirichlet(0.1), .dirichlet(100)], [9, 17, 100])
  func everySampleHasOneOwner(_ partition: ClientPartition, _ count: Int) throws {
    let clients = try Self.clients(partition, count)
    #expect(clients.count == count && clients.allSatisfy { !$0.isEmpty && $0 == $0.sorted() })
    #expect(clients.joined().sorted() == (0..<1000).map { Int32($0) })
    #expect(try Self.clients(partition, count) == clients)
    #expect(try Self.clients(partition, count, seed: 6) != clients)
  }

  @Test func clientsSeeAsManyClassesAsTheyShould() throws {
    for (count, classes) in [(9, 1), (50, 1), (17, 2), (40, 3), (5, 7)] {
      let clients = try Self.clients(.byClass(classes), count)
      #expect(clients.allSatisfy { Self.classes($0).count == classes }, "\(count) clients of \(classes)")
    }
    // Class 7 has a quarter of all samples, and so about a quarter of the clients.
    let holders = try Self.clients(.byClass(1), 80).count { Self.classes($0) == [7] }
    #expect((18...22).contains(holders))
    #expect(try Self.clients(.independent, 4).allSatisfy { Self.classes($0).count == 7 && $0.count == 250 })
  }

  /// Small α: most of a client's samples are of few classes; large α: about the shares of the whole.
  @Test func alphaSaysHowUnlikeClientsAre() throws {
    func largestShare(_ alpha: Double) throws -> Double {
      let shares = try Self.clients(.dirichlet(alpha), 20).map { samples in
        let counts = Dictionary(grouping: samples) { Self.labels[Int($0)] }.values.map(\.count)
        return Double(counts.max()!) / Double(samples.count)
      }
      return shares.reduce(0, +) / 20
    }
    #expect(try largestShare(0.05) > 0.7)
    #expect(try largestShare(1000) < 0.35)
  }

  /// Mean and variance of one client's share of a large class: those of a Beta(α, (C − 1)α) distribution.
  @Test func sharesHaveTheMomentsOfTheDistribution() throws {
    let labels = Array(repeating: Int32(0), count: 20_000)
    for alpha in [0.5, 3.0] {
      var shares: [Double] = []
      for seed in 0..<200 {
        let clients = try ClientPartition.dirichlet(alpha)
          .samples(ofClients: 4, labels: labels, classCount: 1, seed: UInt64(seed))
        shares += clients.map { Double($0.count) / 20_000 }
      }
      let variance = shares.reduce(0) { $0 + ($1 - 0.25) * ($1 - 0.25) } / Double(shares.count)
      let expected = 0.25 * 0.75 / (4 * alpha + 1)
      #expect(abs(variance / expected - 1) < 0.2, "α = \(alpha): \(variance) for \(expected)")
    }
  }

  @Test func whatCannotBeDealtIsRefused() {
    for (partition, count, word) in [
      (ClientPartition.independent, 1001, "1001 clients"), (.byClass(8), 20, "by-class:7"), (.byClass(1), 6, "7 clients"),
      (.byClass(7), 900, "too many"),
    ] {
      #expect { try Self.clients(partition, count) } throws: { "\($0)".contains(word) }
    }
    for text in ["by-class:0", "by-class:x", "by-class:1,2", "dirichlet", "dirichlet:0", "dirichlet:nan", "odd"] {
      #expect(throws: (any Error).self) { try partitions.make(text) }
    }
    #expect(throws: Never.self) {
      for text in ["iid", "by-class", "by-class:3", "dirichlet:0.3"] { _ = try partitions.make(text) }
    }
  }

  /// Every step has the samples of as many clients as asked for; all clients have their turn before one has a second.
  @Test func clientsTakeTurns() throws {
    let clients = try Self.clients(.byClass(1), 30)
    let order = ClientOrder(clients, sampledCount: 5, seed: 9)
    let samples = order.epoch(2, count: 1000, minibatch: 21)
    #expect(samples.count == 1000 && order.epoch(2, count: 1000, minibatch: 21) == samples)
    #expect(order.epoch(3, count: 1000, minibatch: 21) != samples)
    var owner = Array(repeating: 0, count: 1000)
    for (number, client) in clients.enumerated() { for sample in client { owner[Int(sample)] = number } }
    var turns: [Int] = []
    var taken = Array(repeating: [Int32](), count: 30)
    for step in 0..<47 {
      let batch = samples[21 * step..<21 * (step + 1)]
      var owners: [Int] = []
      for sample in batch {
        if owners.last != owner[Int(sample)] { owners.append(owner[Int(sample)]) }
        taken[owner[Int(sample)]].append(sample)
      }
      #expect(owners.count == 5, "step \(step)")
      turns += owners
    }
    for round in 0..<7 { #expect(Set(turns[30 * round..<30 * (round + 1)]).count == 30) }
    // A client gives each of its samples before it gives one again.
    for (mine, client) in zip(taken, clients) {
      for start in stride(from: 0, to: mine.count - client.count, by: client.count) {
        #expect(mine[start..<start + client.count].sorted() == client)
      }
    }
  }

  /// A client gives its samples in an order of its own for each epoch, and so does every other client.
  @Test func clientsShuffleForEachEpoch() throws {
    let clients = try Self.clients(.independent, 30)
    let order = ClientOrder(clients, sampledCount: 5, seed: 9)
    var owner: [Int32: Int] = [:]
    for (number, client) in clients.enumerated() { for sample in client { owner[sample] = number } }
    /// By client, the places of its samples in its own list, in the order in which an epoch first visits them.
    func places(_ epoch: Int) -> [[Int]] {
      var places = Array(repeating: [Int](), count: clients.count)
      for sample in order.epoch(epoch, count: 3000, minibatch: 21) {
        let client = owner[sample]!
        if places[client].count < clients[client].count { places[client].append(clients[client].firstIndex(of: sample)!) }
      }
      return places
    }
    let epochs = (0..<3).map(places)
    for (client, samples) in clients.enumerated() {
      for places in epochs { #expect(places[client].sorted() == Array(samples.indices)) }
      #expect(Set(epochs.map { $0[client] }).count == 3, "client \(client)")
    }
    // Not the same for all.
    #expect(Set(epochs[0].map { Array($0.prefix(8)) }).count == 30)
  }
}
