import Buffers
import PointToPoint
import Transport

/// A network between ranks of one process: what was sent arrives when chance wants it, in the order of its slot.
///
/// A pure function of the random numbers and of the order of calls.
final class SimulatedNetwork {
  /// Where a message is under way.
  private struct Path: Hashable, Comparable {
    let from: Int
    let slot: Int

    static func < (left: Path, right: Path) -> Bool { (left.from, left.slot) < (right.from, right.slot) }
  }

  private var random: SplitMix
  /// By receiver: what was sent, and where it is to go.
  private var letters: [[Path: [[UInt8]]]]
  private var places: [[Path: [UnsafeMutableRawBufferPointer]]]

  init(rankCount: Int, random: SplitMix) {
    self.random = random
    letters = Array(repeating: [:], count: rankCount)
    places = Array(repeating: [:], count: rankCount)
  }

  /// The network as `rank` sees it.
  func end(of rank: Int) -> any ServerNetwork { End(self, rank) }

  private final class End: ServerNetwork {
    private let network: SimulatedNetwork
    private let rank: Int
    private(set) var traffic = Traffic()

    init(_ network: SimulatedNetwork, _ rank: Int) { (self.network, self.rank) = (network, rank) }

    var isUnderWay: Bool { !network.places[rank].isEmpty }

    func receive(into bytes: UnsafeMutableRawBufferPointer, from peer: Int, slot: Int, isVarying: Bool) throws {
      if bytes.count > 0 { network.places[rank][Path(from: peer, slot: slot), default: []].append(bytes) }
    }

    func send(_ bytes: UnsafeRawBufferPointer, to peer: Int, slot: Int, isVarying: Bool) throws {
      if bytes.count > 0 { network.letters[peer][Path(from: rank, slot: slot), default: []].append(Array(bytes)) }
      traffic.networkBytesSent += bytes.count
    }

    func poll(_ arrived: (_ slot: Int, _ rank: Int, _ byteCount: Int) throws -> Void) throws -> Bool {
      var hasArrived = false
      while network.random.next(below: 3) > 0 {
        let ready = network.places[rank].keys.filter { network.letters[rank][$0] != nil }.sorted()
        guard !ready.isEmpty else { break }
        let path = ready[network.random.next(below: ready.count)]
        let place = SimulatedNetwork.first(of: path, in: &network.places[rank])
        let letter = SimulatedNetwork.first(of: path, in: &network.letters[rank])
        // One whose length varies may be shorter; its receiver checks that.
        require(letter.count <= place.count, "\(letter.count) bytes for \(place.count)")
        place.copyBytes(from: letter)
        traffic.networkBytesReceived += letter.count
        hasArrived = true
        try arrived(path.slot, path.from, letter.count)
      }
      return hasArrived
    }

    func hasArrived(slot: Int, from peer: Int) -> Bool { network.places[rank][Path(from: peer, slot: slot)] == nil }

    /// Bytes are copied when they are sent.
    func hasLeft(slot: Int, to peer: Int) -> Bool { true }

    func wait(
      for activity: String, awaited: (() -> [Int])?, meanwhile: (() -> Void)?, patience: Patience?,
      arrived: (_ slot: Int, _ rank: Int, _ byteCount: Int) throws -> Void, until isDone: () throws -> Bool
    ) throws {
      let isDone = try isDone()
      require(isDone, "a rank of a simulated network cannot wait")
    }

    func abandon(keeping owner: AnyObject) {}
  }

  private static func first<Element>(of path: Path, in table: inout [Path: [Element]]) -> Element {
    let element = table[path]!.removeFirst()
    if table[path]!.isEmpty { table[path] = nil }
    return element
  }
}
