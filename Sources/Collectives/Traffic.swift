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
  /// Of all bytes sent, those that owners sent back: sums, and what was found in them; the others went to owners.
  public var returnedBytesSent = 0
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
    sum.returnedBytesSent += b.returnedBytesSent
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
    product.returnedBytesSent *= count
    product.messagesSent *= count
    product.plainGroups *= count
    return product
  }
}

extension ExchangeGeometry {
  /// The traffic of `rank` in one exchange, from the format alone.
  ///
  /// A contributor sends its part of a stripe to the owner, an owner its sum to the agents of other hosts, each segment with a
  /// header. Inside a host nothing is sent: bytes are counted where they are read, once for each reader. Ranks that add
  /// gradients of their neighbours read them as floats.
  public func predictedTraffic(of rank: Int, over routes: ExchangeRoutes) -> Traffic {
    var traffic = Traffic()
    guard routes.rankCount > 1 else { return traffic }
    let party = routes.parties[routes.partyOfRank[rank]]
    for owner in segments.indices {
      let stripe = segments[owner]
      let isAgent = routes.contributes(rank, toStripe: owner)
      if owner == rank {
        for contributor in routes.contributors(toStripe: owner) where contributor != rank {
          traffic.addReceived(stripe, isOnOneHost: routes.areOnOneHost(contributor, rank))
        }
        for reader in 0..<routes.rankCount where reader != rank {
          let isOnOneHost = routes.areOnOneHost(reader, rank)
          // On another host the agent alone gets a message.
          if isOnOneHost || routes.contributes(reader, toStripe: owner) {
            traffic.addReturned(stripe, isOnOneHost: isOnOneHost)
          }
        }
        traffic.plainGroups += plainGroups(in: stripe)
      } else {
        let isOnOneHost = routes.areOnOneHost(owner, rank)
        if isAgent { traffic.addSent(stripe, isOnOneHost: isOnOneHost) }
        traffic.addReceived(stripe, isOnOneHost: isOnOneHost || !isAgent)
        // An agent's neighbours read the sum in its memory.
        if isAgent && !isOnOneHost { for _ in party.dropFirst() { traffic.addReturned(stripe, isOnOneHost: true) } }
      }
      // Before an agent encodes, it reads the gradients of its party.
      let floatByteCount = stripe.reduce(0) { $0 + $1.elements.count * 4 }
      if isAgent {
        traffic.hostBytesReceived += (party.count - 1) * floatByteCount
        traffic.plainGroups += plainGroups(in: stripe)
      } else {
        traffic.hostBytesSent += floatByteCount
      }
    }
    return traffic
  }

  /// The plain groups of `segments`.
  func plainGroups(in segments: [Segment]) -> Int {
    guard plainGroupCount > 0 else { return 0 }
    return segments.reduce(0) { $0 + $1.groups.count { isPlain[$0] } }
  }
}

extension Traffic {
  /// Counts segments that one rank sends to another, or lets it read.
  mutating func addSent(_ segments: [Segment], isOnOneHost: Bool) {
    for segment in segments {
      messagesSent += 1
      if isOnOneHost { hostBytesSent += segment.payloadByteCount } else { networkBytesSent += segment.messageByteCount }
    }
  }

  /// Counts segments of a sum that one rank sends to another, or lets it read.
  mutating func addReturned(_ segments: [Segment], isOnOneHost: Bool) {
    let before = bytesSent
    addSent(segments, isOnOneHost: isOnOneHost)
    returnedBytesSent += bytesSent - before
  }

  /// Counts segments that a rank receives, or reads.
  mutating func addReceived(_ segments: [Segment], isOnOneHost: Bool) {
    for segment in segments {
      if isOnOneHost { hostBytesReceived += segment.payloadByteCount } else { networkBytesReceived += segment.messageByteCount }
    }
  }
}
