internal import Buffers
internal import Codecs
internal import MPI
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

// Stage 1: contributions.
extension CodedAllReduce {
  /// Counts the gradients that neighbours read in place, which are not sent.
  func countWhatIsReadInPlace() {
    for owner in 0..<rankCount {
      let segments = geometry.segments[owner]
      if !routes.contributes(rank, toShard: owner) {
        // An agent of the party adds this rank's gradient to its own.
        traffic.hostBytesSent += segments.reduce(0) { $0 + $1.elements.count * 4 }
      } else if owner != rank, codec.isIdentity, routes.readsInPlace(owner, of: rank) {
        traffic.addSent(segments, isOnOneHost: true)
      }
    }
    traffic.rawGroups += geometry.rawGroups(in: geometry.segments[rank])
    for owner in 0..<rankCount where routes.contributes(rank, toShard: owner) {
      traffic.rawGroups += geometry.rawGroups(in: geometry.segments[owner])
    }
  }

  /// Encodes the next segment and passes it to its owner; nil if there is none or its gradient is not final.
  func encodeNext() throws -> Segment? {
    guard progress.encodedCount < encodingOrder.count,
      encodingOrder[progress.encodedCount].elements.upperBound <= progress.partyReadyCount
    else {
      return nil
    }
    let segment = encodingOrder[progress.encodedCount]
    progress.encodedCount += 1
    let byteCount = codec.isIdentity ? copyFloats(of: segment) : encodeGroups(of: segment)
    if party.count > 1 { traffic.hostBytesReceived += (party.count - 1) * segment.elements.count * 4 }
    if segment.shard == rank {
      progress.availableContributions[rank] += 1
      return segment
    }
    let message = memory.contributions + segment.headerOffset
    if memory.isShared(with: segment.shard) {
      if codec.hasVaryingLength { messages.writeHeader(of: segment, payloadByteCount: byteCount, stage: 1, at: message) }
      let ready = exchangeCount * geometry.segments[segment.shard].count + segment.index + 1
      memory.contributionCounter(of: rank, to: segment.shard).store(ready)
      traffic.addSent(byteCount, isOnOneHost: true)
    } else {
      messages.writeHeader(of: segment, payloadByteCount: byteCount, stage: 1, at: message)
      try send(segment, payloadByteCount: byteCount, stage: 1, at: message, to: segment.shard)
    }
    return segment
  }

  /// Encodes the groups of a segment one after another; returns the number of bytes of their codes.
  private func encodeGroups(of segment: Segment) -> Int {
    let payload = memory.contributions + segment.payloadOffset
    var context = EncodingContext(seed: options.seed, step: progress.step, stream: options.streams.contributions(of: rank))
    var (end, group) = (0, segment.groups.lowerBound)
    while group < segment.groups.upperBound {
      let next = geometry.runEnd(group, in: segment)
      let range = geometry.groupStarts[group]..<geometry.groupStarts[next]
      geometry.move(&context, to: group)
      end += coder.encode(
        partyGradient(range), at: range.lowerBound, count: range.count, areSingle: next > group + 1, into: payload + end,
        context: context)
      group = next
    }
    return end
  }

  /// Copies the floats of a segment; returns their number of bytes.
  private func copyFloats(of segment: Segment) -> Int {
    let payload = (memory.contributions + segment.payloadOffset).assumingMemoryBound(to: Float.self)
    var start = segment.elements.lowerBound
    while start < segment.elements.upperBound {
      let end = min(start + CodedAllReduce.blockCount, segment.elements.upperBound)
      memcpy(payload + (start - segment.elements.lowerBound), partyGradient(start..<end), 4 * (end - start))
      start = end
    }
    return segment.payloadByteCount
  }

  /// The gradients of the party added in rank order, in fp32; a single rank's gradient is read in place.
  private func partyGradient(_ range: Range<Int>) -> UnsafePointer<Float> {
    guard party.count > 1 else { return UnsafePointer(gradient.values.baseAddress + range.lowerBound) }
    sources.removeAll(keepingCapacity: true)
    for peer in party { sources.append(UnsafeRawPointer(gradient.values(of: peer)! + range.lowerBound)) }
    Identity().decodeSum(sources, codeCount: party.count, count: range.count, into: scratch.baseAddress)
    return UnsafePointer(scratch.baseAddress)
  }

  /// The address of the contribution of `contributor` to a segment of this rank's shard.
  func contribution(of contributor: Int, to segment: Segment) -> UnsafeRawPointer {
    if roles.readsInPlace(contributor) {
      return UnsafeRawPointer(gradient.values(of: contributor)! + segment.elements.lowerBound)
    }
    if contributor == rank || memory.isShared(with: contributor) {
      return memory.contributions(of: contributor) + segment.payloadOffset
    }
    return messages.contributions(of: contributor) + segment.payloadOffset - geometry.codeSpace(ofShard: rank).lowerBound
  }
}
