internal import Buffers
public import Transport

extension ExchangeGeometry {
  /// The traffic of `rank` in one exchange, from the format alone; the most of it if the lengths of codes vary.
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
        traffic.rawGroups += rawGroups(in: shard)
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
        traffic.rawGroups += rawGroups(in: shard)
      } else {
        traffic.hostBytesSent += floatByteCount
      }
    }
    return traffic
  }

  /// The raw groups of `segments`.
  func rawGroups(in segments: [Segment]) -> Int {
    guard rawGroupCount > 0 else { return 0 }
    return segments.reduce(0) { $0 + $1.groups.count { isRaw[$0] } }
  }
}

extension Traffic {
  /// Counts the codes of a segment, of so many bytes, that one rank sends to another, or lets it read.
  mutating func addSent(_ payloadByteCount: Int, isOnOneHost: Bool) {
    messagesSent += 1
    if isOnOneHost { hostBytesSent += payloadByteCount } else { networkBytesSent += MessageHeader.byteCount + payloadByteCount }
  }

  /// Counts the codes of a segment of a sum that one rank sends to another, or lets it read.
  mutating func addReturned(_ payloadByteCount: Int, isOnOneHost: Bool) {
    let before = bytesSent
    addSent(payloadByteCount, isOnOneHost: isOnOneHost)
    returnedBytesSent += bytesSent - before
  }

  /// Counts segments, whose codes are as long as they can be, that one rank sends to another, or lets it read.
  mutating func addSent(_ segments: [Segment], isOnOneHost: Bool) {
    for segment in segments { addSent(segment.payloadByteCount, isOnOneHost: isOnOneHost) }
  }

  /// Counts segments of a sum, whose codes are as long as they can be, that one rank sends to another, or lets it read.
  mutating func addReturned(_ segments: [Segment], isOnOneHost: Bool) {
    for segment in segments { addReturned(segment.payloadByteCount, isOnOneHost: isOnOneHost) }
  }

  /// Counts segments, whose codes are as long as they can be, that a rank receives, or reads.
  mutating func addReceived(_ segments: [Segment], isOnOneHost: Bool) {
    for segment in segments {
      if isOnOneHost { hostBytesReceived += segment.payloadByteCount } else { networkBytesReceived += segment.messageByteCount }
    }
  }
}
