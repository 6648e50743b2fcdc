internal import Buffers
internal import Collectives
internal import Glibc
internal import MPI

/// What a message costs between two hosts that have the network for themselves.
public struct PairCosts: Hashable, Sendable {
  /// The names of the hosts.
  public var first: String
  public var second: String
  /// Seconds of a message of 64 bytes, one way: half the median of there and back.
  public var latency: Double
  /// Bits per second of a stream of messages one way.
  public var bandwidth: Double
}

/// Bounces messages between every two hosts, one pair after another, while all other ranks sleep.
///
/// With many hosts only neighbours in a ring play. Ranks that do not play look for a word from rank 0 now and then, because on a
/// machine with fewer cores than ranks those that wait would slow down those that play.
struct PairProbe {
  let hosts: HostMap
  private let world: Communicator
  /// The lowest rank of each host.
  private let players: [Int]

  /// Up to so many hosts every pair plays: 120 pairs.
  private static let mostHosts = 16

  init(_ hosts: HostMap) throws {
    self.hosts = hosts
    world = try hosts.world.duplicate()
    var players: [String: Int] = [:]
    for (rank, name) in hosts.hostNames.enumerated() where players[name] == nil { players[name] = rank }
    self.players = players.values.sorted()
  }

  /// The pairs of players, in the order in which they play.
  private var pairs: [(Int, Int)] {
    let count = players.count
    guard count > 1 else { return [] }
    guard count <= PairProbe.mostHosts else { return (0..<count).map { (players[$0], players[($0 + 1) % count]) } }
    return (0..<count).flatMap { first in (first + 1..<count).map { (players[first], players[$0]) } }
  }

  /// Whether every two hosts play, and not only neighbours.
  var isComplete: Bool { players.count <= PairProbe.mostHosts }

  /// The costs of each pair, on rank 0; nothing on other ranks.
  ///
  /// Collective.
  func measure(progress: (String) -> Void) throws -> [PairCosts] {
    let pairs = pairs
    guard world.rank == 0 else {
      while true {
        try sleep(untilWordFrom: 0, tag: Tag.turn)
        let pair = Int(try world.receiveValue(Int64.self, from: 0, tag: Tag.turn))
        guard pair >= 0 else { return [] }
        try play(pairs[pair])
      }
    }
    var costs: [PairCosts] = []
    for (index, pair) in pairs.enumerated() {
      progress("link \(index + 1) of \(pairs.count), \(hosts.hostNames[pair.0]) to \(hosts.hostNames[pair.1])")
      for rank in Set([pair.0, pair.1]) where rank != 0 { try world.send([Int64(index)], to: rank, tag: Tag.turn) }
      var result = try play(pair)
      if pair.0 != 0 {
        try sleep(untilWordFrom: pair.0, tag: Tag.result)
        result = try world.receive(Double.self, from: pair.0, tag: Tag.result).values
      }
      costs.append(
        PairCosts(
          first: hosts.hostNames[pair.0], second: hosts.hostNames[pair.1], latency: result[0], bandwidth: result[1]))
    }
    for rank in 1..<world.count { try world.send([Int64(-1)], to: rank, tag: Tag.turn) }
    return costs
  }

  private enum Tag {
    static let turn = 0
    static let ball = 1
    static let stream = 2
    static let result = 3
  }

  /// Waits for a message without keeping a core busy.
  private func sleep(untilWordFrom rank: Int, tag: Int) throws {
    while try world.probeNow(from: rank, tag: tag) == nil { usleep(300) }
  }

  /// Plays where this rank is one of the pair; the first of the pair tells rank 0 what came out.
  @discardableResult
  private func play(_ pair: (Int, Int)) throws -> [Double] {
    guard world.rank == pair.0 || world.rank == pair.1 else { return [] }
    let isFirst = world.rank == pair.0
    let peer = isFirst ? pair.1 : pair.0
    var times: [Double] = []
    let ball = [UInt8](repeating: 0, count: 64)
    for _ in 0..<30 {
      let stopwatch = Stopwatch()
      if isFirst { try world.send(ball, to: peer, tag: Tag.ball) }
      _ = try world.receive(UInt8.self, from: peer, tag: Tag.ball)
      if !isFirst { try world.send(ball, to: peer, tag: Tag.ball) }
      times.append(stopwatch.seconds)
    }
    // The first ones open the connection.
    let latency = (median(of: Array(times.dropFirst(5))) ?? 0) / 2

    // Twice as much until it takes long enough: a burst may pass faster than a link allows in the long run.
    var bandwidth = 0.0
    var pieces = 2
    let piece = [UInt8](repeating: 1, count: 49_152)
    while true {
      let stopwatch = Stopwatch()
      for _ in 0..<pieces {
        if isFirst {
          try world.send(piece, to: peer, tag: Tag.stream)
        } else {
          _ = try world.receive(UInt8.self, from: peer, tag: Tag.stream)
        }
      }
      // The end of the stream comes back with the word whether there will be another.
      if isFirst {
        _ = try world.receive(UInt8.self, from: peer, tag: Tag.ball)
      } else {
        try world.send(ball, to: peer, tag: Tag.ball)
      }
      let seconds = stopwatch.seconds
      bandwidth = Double(8 * pieces * piece.count) / max(seconds - latency, 1e-9)
      let isLast = seconds > 0.02 || pieces >= 256
      let isEnd = isFirst ? isLast : try world.receiveValue(UInt8.self, from: peer, tag: Tag.ball) == 1
      if isFirst { try world.send([UInt8(isLast ? 1 : 0)], to: peer, tag: Tag.ball) }
      if isEnd { break }
      pieces *= 2
    }
    let result = [latency, bandwidth]
    if isFirst && world.rank != 0 { try world.send(result, to: 0, tag: Tag.result) }
    return result
  }
}
