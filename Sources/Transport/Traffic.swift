internal import Buffers

/// The bytes and messages of one rank, counted where they are handed to MPI or to the readers of a shared window.
///
/// What goes to a rank that shares memory with this one is counted inside the host, also if MPI carries it.
public struct Traffic: Hashable, Codable, Sendable {
  /// Bytes given to MPI for ranks of other hosts, headers included.
  public var networkBytesSent = 0
  /// Bytes that MPI delivered from them, headers included.
  public var networkBytesReceived = 0
  /// Bytes made readable to ranks of the same host, counted once for each reader, and bytes given to MPI for them.
  public var hostBytesSent = 0
  /// Bytes read from the memory of ranks of the same host, or that MPI delivered from them.
  public var hostBytesReceived = 0
  /// The part of all bytes sent that owners returned (sums, and what was found in them); the others went to owners.
  public var returnedBytesSent = 0
  /// Messages sent, and segments made readable, counted once for each receiver.
  public var messagesSent = 0
  /// Groups that were sent as floats because their code would be no smaller, counted once for each encoding.
  public var rawGroups = 0

  private enum CodingKeys: String, CodingKey {
    case networkBytesSent, networkBytesReceived, hostBytesSent, hostBytesReceived, returnedBytesSent, messagesSent
    // The name that files have had from the beginning.
    case rawGroups = "plainGroups"
  }

  /// No traffic.
  public init() {}

  /// Bytes sent over the network and inside the host.
  public var bytesSent: Int { networkBytesSent + hostBytesSent }
  /// Bytes received over the network and inside the host.
  public var bytesReceived: Int { networkBytesReceived + hostBytesReceived }

  /// Counts bytes sent to another rank, over the network or to one of the same host.
  package mutating func addSent(_ byteCount: Int, insideHost: Bool) {
    if insideHost { hostBytesSent += byteCount } else { networkBytesSent += byteCount }
  }

  /// Counts bytes received from another rank, over the network or from one of the same host.
  package mutating func addReceived(_ byteCount: Int, insideHost: Bool) {
    if insideHost { hostBytesReceived += byteCount } else { networkBytesReceived += byteCount }
  }

  /// Adds the counts of `other`.
  public static func += (total: inout Traffic, other: Traffic) {
    total = total + other
  }

  /// The sum of two counts.
  public static func + (a: Traffic, b: Traffic) -> Traffic { a.combined(with: b, +) }

  /// The traffic since `earlier`.
  public static func - (a: Traffic, earlier: Traffic) -> Traffic { a.combined(with: earlier, -) }

  /// The traffic of `count` equal exchanges.
  public static func * (one: Traffic, count: Int) -> Traffic { one.combined(with: one) { number, _ in number * count } }

  /// The traffic of one of `count` exchanges, in the mean, rounded down.
  public static func / (all: Traffic, count: Int) -> Traffic { all.combined(with: all) { number, _ in number / count } }

  /// Each count of this traffic with that of `other`.
  private func combined(with other: Traffic, _ combine: (Int, Int) -> Int) -> Traffic {
    var result = self
    result.networkBytesSent = combine(networkBytesSent, other.networkBytesSent)
    result.networkBytesReceived = combine(networkBytesReceived, other.networkBytesReceived)
    result.hostBytesSent = combine(hostBytesSent, other.hostBytesSent)
    result.hostBytesReceived = combine(hostBytesReceived, other.hostBytesReceived)
    result.returnedBytesSent = combine(returnedBytesSent, other.returnedBytesSent)
    result.messagesSent = combine(messagesSent, other.messagesSent)
    result.rawGroups = combine(rawGroups, other.rawGroups)
    return result
  }
}
