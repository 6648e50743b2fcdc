internal import Buffers
internal import Collectives
internal import Glibc
internal import MPI
internal import Strategies
internal import Trainer
internal import Transport

/// The cost of messages between two hosts that have the network to themselves.
public struct PairCosts: Hashable, Sendable {
  /// The names of the hosts.
  public var first: String
  public var second: String
  /// Seconds of a message of 64 bytes, one way: half the median round trip.
  public var latency: Double
  /// Bits per second of a one-way stream of messages.
  public var bandwidth: Double
}

/// Exchanges messages between every two hosts, one pair after another, while all other ranks sleep.
///
/// With many hosts only neighbours in a ring take part. Idle ranks poll for a message from rank 0 now and then, because on a
/// machine with fewer cores than ranks, ranks that wait would slow down the pair.
struct PairProbe {
  let hosts: HostMap
  private let letters: Letters
  /// The lowest rank of each host.
  private let players: [Int]

  /// The largest number of hosts for which every pair is measured: 120 pairs.
  private static let mostHosts = 16
  private static let activity = "the measuring of links"
  private static let pieceByteCount = 49_152

  init(_ hosts: HostMap) throws {
    self.hosts = hosts
    letters = try Letters(hosts, capacity: PairProbe.pieceByteCount)
    var players: [String: Int] = [:]
    for (rank, name) in hosts.hostNames.enumerated() where players[name] == nil { players[name] = rank }
    self.players = players.values.sorted()
  }

  /// The pairs of ranks, in the order in which they are measured.
  private var pairs: [(Int, Int)] {
    let count = players.count
    guard count > 1 else { return [] }
    guard count <= PairProbe.mostHosts else { return (0..<count).map { (players[$0], players[($0 + 1) % count]) } }
    return (0..<count).flatMap { first in (first + 1..<count).map { (players[first], players[$0]) } }
  }

  /// Whether every two hosts are measured, and not only neighbours.
  var isComplete: Bool { players.count <= PairProbe.mostHosts }

  /// The costs of each pair on rank 0; empty on other ranks.
  ///
  /// Collective.
  func measure(progress: (String) -> Void) throws -> [PairCosts] {
    let (pairs, world) = (pairs, hosts.world)
    guard world.rank == 0 else {
      while true {
        // Every rank is notified of every turn, so that a long wait means that something is wrong.
        let pair = try letters.receiveWords(from: 0, activity: PairProbe.activity) { usleep(300) }[0]
        guard pair >= 0 else { return [] }
        try play(pairs[pair])
      }
    }
    var costs: [PairCosts] = []
    func tell(_ word: Int) throws {
      for rank in 1..<world.count { try letters.send([word], to: rank, activity: PairProbe.activity) }
    }
    for (index, pair) in pairs.enumerated() {
      progress("link \(index + 1) of \(pairs.count), \(hosts.hostNames[pair.0]) to \(hosts.hostNames[pair.1])")
      try tell(index)
      let result = try play(pair)
      costs.append(
        PairCosts(
          first: hosts.hostNames[pair.0], second: hosts.hostNames[pair.1], latency: result[0], bandwidth: result[1]))
    }
    try tell(-1)
    return costs
  }

  /// Measures if this rank is one of the pair; rank 0 gets the latency and the bandwidth.
  @discardableResult
  private func play(_ pair: (Int, Int)) throws -> [Double] {
    let rank = hosts.world.rank
    var result: [Double] = []
    if rank == pair.0 || rank == pair.1 { result = try play(with: rank == pair.0 ? pair.1 : pair.0, isFirst: rank == pair.0) }
    guard pair.0 != 0 else { return result }
    if rank == pair.0 { try letters.send(result.map { Int($0.bitPattern) }, to: 0, activity: PairProbe.activity) }
    guard rank == 0 else { return result }
    return try letters.receiveWords(from: pair.0, activity: PairProbe.activity) { usleep(300) }.map {
      Double(bitPattern: UInt64(bitPattern: Int64($0)))
    }
  }

  private func play(with peer: Int, isFirst: Bool) throws -> [Double] {
    let activity = PairProbe.activity
    var times: [Double] = []
    let ball = [Int](repeating: 0, count: 8)
    for _ in 0..<30 {
      let stopwatch = Stopwatch()
      if isFirst { try letters.send(ball, to: peer, activity: activity) }
      _ = try letters.receive(from: peer, activity: activity)
      if !isFirst { try letters.send(ball, to: peer, activity: activity) }
      times.append(stopwatch.seconds)
    }
    // The first messages open the connection.
    let latency = (median(of: Array(times.dropFirst(5))) ?? 0) / 2

    // Doubled until it takes long enough: a burst may be faster than a link allows in the long run.
    var bandwidth = 0.0
    var pieces = 2
    let piece = [Int](repeating: 1, count: PairProbe.pieceByteCount / 8)
    while true {
      let stopwatch = Stopwatch()
      for _ in 0..<pieces {
        if isFirst {
          try letters.send(piece, to: peer, activity: activity)
        } else {
          _ = try letters.receive(from: peer, activity: activity)
        }
      }
      // The end of the stream is acknowledged; then a word follows on whether there will be another.
      if isFirst {
        _ = try letters.receive(from: peer, activity: activity)
      } else {
        try letters.send(ball, to: peer, activity: activity)
      }
      let seconds = stopwatch.seconds
      bandwidth = Double(8 * pieces * PairProbe.pieceByteCount) / max(seconds - latency, 1e-9)
      let isLast = seconds > 0.02 || pieces >= 256
      let isEnd = isFirst ? isLast : try letters.receiveWords(from: peer, activity: activity) == [1]
      if isFirst { try letters.send([isLast ? 1 : 0], to: peer, activity: activity) }
      if isEnd { break }
      pieces *= 2
    }
    return [latency, bandwidth]
  }
}
