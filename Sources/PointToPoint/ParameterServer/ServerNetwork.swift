internal import MPI
package import Transport

/// What carries the messages of a parameter server: a ``Transport/Mailbox`` between ranks, or in tests a network in one process that
/// delivers in any order.
///
/// A message is identified by its slot and the other rank; messages of one slot between two ranks keep their order.
package protocol ServerNetwork: AnyObject {
  /// The messages and bytes sent and received so far.
  var traffic: Traffic { get }
  /// Whether messages have yet to arrive or leave.
  var isUnderWay: Bool { get }
  /// Starts receiving what `rank` sends to `slot`; the caller keeps `bytes` until it has arrived.
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, slot: Int, isVarying: Bool) throws
  /// Starts sending `bytes` to `slot` of `rank`; the caller keeps them unchanged until they have left.
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, slot: Int, isVarying: Bool) throws
  /// Lets messages progress, and calls `arrived` for each piece that has arrived; returns whether anything has happened.
  func poll(_ arrived: (_ slot: Int, _ rank: Int, _ byteCount: Int) throws -> Void) throws -> Bool
  /// Whether the message from `rank` to `slot` has arrived.
  func hasArrived(slot: Int, from rank: Int) -> Bool
  /// Whether the message to `slot` of `rank` has left.
  func hasLeft(slot: Int, to rank: Int) -> Bool
  /// Progresses messages until `isDone`, as ``Transport/Mailbox`` does.
  func wait(
    for activity: String, awaited: (() -> [Int])?, meanwhile: (() -> Void)?, patience: Patience?,
    arrived: (_ slot: Int, _ rank: Int, _ byteCount: Int) throws -> Void, until isDone: () throws -> Bool
  ) throws
  /// Gives up on what is under way, whose memory `owner` holds.
  func abandon(keeping owner: AnyObject)
}

extension Mailbox: ServerNetwork {}

/// The ranks of a parameter server, as one of them sees them.
package struct ServerRanks {
  /// This rank, and the number of all.
  package let rank: Int
  package let count: Int
  /// The first rank of each rank's host.
  package let leaders: [Int]
  /// Makes the network; collective.
  package let network: (_ slotCount: Int, _ receiveCount: Int, _ sendCount: Int) throws -> any ServerNetwork

  /// Rank `rank` of `count` on a network; all are on one host if there are no `leaders`.
  package init(
    rank: Int, count: Int, leaders: [Int]? = nil,
    network: @escaping (_ slotCount: Int, _ receiveCount: Int, _ sendCount: Int) throws -> any ServerNetwork
  ) {
    (self.rank, self.count, self.network) = (rank, count, network)
    self.leaders = leaders ?? Array(repeating: 0, count: count)
  }

  /// The ranks of `hosts`, by messages.
  init(_ hosts: HostMap) {
    self.init(rank: hosts.world.rank, count: hosts.world.count, leaders: hosts.leaders) {
      try Mailbox(hosts, slotCount: $0, receiveCount: $1, sendCount: $2, backOff: .proportional)
    }
  }
}
