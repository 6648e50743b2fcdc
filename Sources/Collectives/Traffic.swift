internal import Buffers

/// Bytes and messages of one rank, counted where they are handed to MPI or to the readers of a shared window.
public struct Traffic: Hashable, Codable, Sendable {
  /// Bytes given to MPI for other ranks, headers included.
  public var networkBytesSent = 0
  /// Bytes that MPI delivered, headers included.
  public var networkBytesReceived = 0
  /// Bytes made readable to ranks of the same host, counted once for each reader.
  public var hostBytesSent = 0
  /// Bytes read in the memory of ranks of the same host.
  public var hostBytesReceived = 0
  /// Messages sent, and segments made readable, counted once for each receiver.
  public var messagesSent = 0
  /// Groups that were sent as floats because their code would be larger, counted once for each encoding.
  public var plainGroups = 0

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
    sum.messagesSent += b.messagesSent
    sum.plainGroups += b.plainGroups
    return sum
  }

  /// What happened since `earlier`.
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
    product.messagesSent *= count
    product.plainGroups *= count
    return product
  }
}

extension ExchangeGeometry {
  /// The traffic of `rank` in one exchange, from the format alone: its contribution to every other stripe, and its own stripe's
  /// sum to every other rank; a header with each message.
  ///
  /// - Parameters:
  ///   - rank: Whose traffic it is.
  ///   - isOnSameHost: Whether a rank reads this one's memory in place.
  public func predictedTraffic(of rank: Int, isOnSameHost: (Int) -> Bool) -> Traffic {
    var traffic = Traffic()
    let rankCount = segments.count
    guard rankCount > 1 else { return traffic }
    for peer in 0..<rankCount where peer != rank {
      for segment in segments[peer] + segments[rank] {
        traffic.messagesSent += 1
        // Sent: my part of the peer's stripe, and my stripe's sum. Received: the same two, the other way round.
        if isOnSameHost(peer) {
          traffic.hostBytesSent += segment.payloadByteCount
          traffic.hostBytesReceived += segment.payloadByteCount
        } else {
          traffic.networkBytesSent += segment.messageByteCount
          traffic.networkBytesReceived += segment.messageByteCount
        }
      }
    }
    traffic.plainGroups = plainGroupCount + plainGroups(in: stripes[rank])
    return traffic
  }

  /// The plain groups among `groups`.
  func plainGroups(in groups: Range<Int>) -> Int {
    guard plainGroupCount > 0 else { return 0 }
    return groups.count { isPlain[$0] }
  }
}
