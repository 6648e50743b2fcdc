internal import Buffers
internal import Codecs
internal import MPI
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

// Stage 1: contributions.
extension CodedAllReduce {
  /// Counts the gradients that neighbours read in place, which nobody sends.
  func countWhatIsReadInPlace() {
    for owner in 0..<rankCount {
      let segments = geometry.segments[owner]
      if !routes.contributes(rank, toShard: owner) {
        // An agent of the party adds this gradient to its own.
        traffic.hostBytesSent += segments.reduce(0) { $0 + $1.elements.count * 4 }
      } else if owner != rank, codec.isIdentity, routes.readsInPlace(owner, of: rank) {
        traffic.addSent(segments, isOnOneHost: true)
      }
    }
    traffic.plainGroups += geometry.plainGroups(in: geometry.segments[rank])
    for owner in 0..<rankCount where routes.contributes(rank, toShard: owner) {
      traffic.plainGroups += geometry.plainGroups(in: geometry.segments[owner])
    }
  }

  /// Encodes the next segment and hands it to its owner; nil where there is none, or its gradient is not final.
  func encodeNext() throws -> Segment? {
    guard progress.encodedCount < encodingOrder.count,
      encodingOrder[progress.encodedCount].elements.upperBound <= progress.partyReadyCount
    else {
      return nil
    }
    let segment = encodingOrder[progress.encodedCount]
    progress.encodedCount += 1
    if codec.isIdentity { copyFloats(of: segment) } else { encodeGroups(of: segment) }
    if party.count > 1 { traffic.hostBytesReceived += (party.count - 1) * segment.elements.count * 4 }
    if segment.shard == rank {
      progress.availableContributions[rank] += 1
    } else if memory.isShared(with: segment.shard) {
      let ready = exchangeCount * geometry.segments[segment.shard].count + segment.index + 1
      memory.contributionCounter(of: rank, to: segment.shard).store(ready)
      traffic.addSent([segment], isOnOneHost: true)
    } else {
      messages.writeHeader(of: segment, stage: 1, at: memory.contributions + segment.headerOffset)
      try send(segment, stage: 1, at: memory.contributions + segment.headerOffset, to: segment.shard)
    }
    return segment
  }

  private func encodeGroups(of segment: Segment) {
    var code = memory.contributions + segment.payloadOffset
    for group in segment.groups {
      let start = geometry.groupStarts[group]
      let count = geometry.groupStarts[group + 1] - start
      if keptResidual.count > 0 { memcpy(keptResidual.baseAddress + start, residual.baseAddress + start, 4 * count) }
      let isFinite = codec.encode(
        gradient: partyGradient(start..<start + count), residual: residual.baseAddress + start, count: count, into: code)
      if !isFinite { nonFiniteGroups += 1 }
      code += geometry.codeStarts[group + 1] - geometry.codeStarts[group]
    }
  }

  private func copyFloats(of segment: Segment) {
    let payload = (memory.contributions + segment.payloadOffset).assumingMemoryBound(to: Float.self)
    var start = segment.elements.lowerBound
    while start < segment.elements.upperBound {
      let end = min(start + CodedAllReduce.blockCount, segment.elements.upperBound)
      memcpy(payload + (start - segment.elements.lowerBound), partyGradient(start..<end), 4 * (end - start))
      start = end
    }
  }

  /// The gradients of the party added in rank order, fp32; this rank's alone is read where it lies.
  private func partyGradient(_ range: Range<Int>) -> UnsafePointer<Float> {
    guard party.count > 1 else { return UnsafePointer(gradient.values.baseAddress + range.lowerBound) }
    sources.removeAll(keepingCapacity: true)
    for peer in party { sources.append(UnsafeRawPointer(gradient.values(of: peer)! + range.lowerBound)) }
    None().decodeSum(sources, codeCount: party.count, count: range.count, into: scratch.baseAddress)
    return UnsafePointer(scratch.baseAddress)
  }

  /// Where the contribution of `contributor` to a segment of the own shard lies.
  func contribution(of contributor: Int, to segment: Segment) -> UnsafeRawPointer {
    if readsInPlace(contributor) {
      return UnsafeRawPointer(gradient.values(of: contributor)! + segment.elements.lowerBound)
    }
    if contributor == rank || memory.isShared(with: contributor) {
      return memory.contributions(of: contributor) + segment.payloadOffset
    }
    return messages.contributions(of: contributor) + segment.payloadOffset - geometry.codeSpace(ofShard: rank).lowerBound
  }
}
