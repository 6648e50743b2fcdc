internal import Buffers

/// The bytes and messages of one rank, counted where they are handed to MPI or to the readers of a shared window.
public struct Traffic: Hashable, Codable, Sendable {
  /// Bytes given to MPI for other ranks, headers included.
  public var networkBytesSent = 0
  /// Bytes that MPI delivered, headers included.
  public var networkBytesReceived = 0
  /// Bytes made readable to ranks of the same host, counted once for each reader.
  public var hostBytesSent = 0
  /// Bytes read from the memory of ranks of the same host.
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

  /// Adds the counts of `other`.
  public static func += (total: inout Traffic, other: Traffic) {
    total = total + other
  }

  /// The sum of two counts.
  public static func + (a: Traffic, b: Traffic) -> Traffic {
    var sum = a
    sum.networkBytesSent += b.networkBytesSent
    sum.networkBytesReceived += b.networkBytesReceived
    sum.hostBytesSent += b.hostBytesSent
    sum.hostBytesReceived += b.hostBytesReceived
    sum.returnedBytesSent += b.returnedBytesSent
    sum.messagesSent += b.messagesSent
    sum.rawGroups += b.rawGroups
    return sum
  }

  /// The traffic since `earlier`.
  public static func - (a: Traffic, earlier: Traffic) -> Traffic {
    a + earlier * -1
  }

  /// The traffic of `count` equal exchanges.
  public static func * (one: Traffic, count: Int) -> Traffic {
    var product = one
    product.networkBytesSent *= count
    product.networkBytesReceived *= count
    product.hostBytesSent *= count
    product.hostBytesReceived *= count
    product.returnedBytesSent *= count
    product.messagesSent *= count
    product.rawGroups *= count
    return product
  }
}
