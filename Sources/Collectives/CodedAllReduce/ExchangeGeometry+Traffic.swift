internal import Buffers
public import Transport

extension ExchangeGeometry {
  /// The traffic of `rank` in one exchange, from the format alone.
  ///
  /// A contributor sends its part of a shard to the owner, an owner its sum to the agents of other hosts, each segment with a
  /// header. Inside a host nothing is sent: bytes are counted where they are read, once for each reader. Ranks that add
  /// gradients of their neighbours read them as floats.
  public func predictedTraffic(of rank: Int, over routes: ExchangeRoutes) -> Traffic {
    var traffic = Traffic()
    guard routes.rankCount > 1 else { return traffic }
    let party = routes.parties[routes.partyOfRank[rank]]
    for owner in segments.indices {
      let shard = segments[owner]
      let isAgent = routes.contributes(rank, toShard: owner)
      if owner == rank {
        for contributor in routes.contributors(toShard: owner) where contributor != rank {
          traffic.addReceived(shard, isOnOneHost: routes.areOnOneHost(contributor, rank))
        }
        for reader in 0..<routes.rankCount where reader != rank {
          let isOnOneHost = routes.areOnOneHost(reader, rank)
          // On another host the agent alone gets a message.
          if isOnOneHost || routes.contributes(reader, toShard: owner) {
            traffic.addReturned(shard, isOnOneHost: isOnOneHost)
          }
        }
        traffic.plainGroups += plainGroups(in: shard)
      } else {
        let isOnOneHost = routes.areOnOneHost(owner, rank)
        if isAgent { traffic.addSent(shard, isOnOneHost: isOnOneHost) }
        traffic.addReceived(shard, isOnOneHost: isOnOneHost || !isAgent)
        // An agent's neighbours read the sum in its memory.
        if isAgent && !isOnOneHost { for _ in party.dropFirst() { traffic.addReturned(shard, isOnOneHost: true) } }
      }
      // Before an agent encodes, it reads the gradients of its party.
      let floatByteCount = shard.reduce(0) { $0 + $1.elements.count * 4 }
      if isAgent {
        traffic.hostBytesReceived += (party.count - 1) * floatByteCount
        traffic.plainGroups += plainGroups(in: shard)
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
