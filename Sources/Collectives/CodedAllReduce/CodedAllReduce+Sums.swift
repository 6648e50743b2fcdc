internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

// The owner's sum, and stage 2: it is sent back.
extension CodedAllReduce {
  /// Adds the contributions to the next segment of this rank's shard, encodes the sum, and passes it on.
  func sumNext() throws -> Segment {
    let segment = geometry.segments[rank][progress.summedCount]
    progress.summedCount += 1
    let message = memory.sums + segment.headerOffset - geometry.codeSpace(ofShard: rank).lowerBound
    let payload = message + MessageHeader.byteCount
    sources.removeAll(keepingCapacity: true)
    for contributor in contributors { sources.append(contribution(of: contributor, to: segment)) }
    let byteCount =
      codec.isIdentity
      ? sumFloats(of: segment, into: payload.assumingMemoryBound(to: Float.self)) : sumCodes(of: segment, into: payload)
    progress.availableSums[rank] += 1
    if roles.hasRemoteRanks || codec.hasVaryingLength {
      messages.writeHeader(of: segment, payloadByteCount: byteCount, stage: 2, at: message)
    }
    for distance in 1..<rankCount {
      let peer = (rank + distance) % rankCount
      if memory.isShared(with: peer) {
        traffic.addReturned(byteCount, isOnOneHost: true)
      } else if routes.contributes(peer, toShard: rank) {
        try send(segment, payloadByteCount: byteCount, stage: 2, at: message, to: peer)
      }
    }
    if hosts.host != nil {
      memory.sumCounter(of: rank).store(exchangeCount * geometry.segments[rank].count + progress.summedCount)
    }
    return segment
  }

  /// Decodes, adds and encodes group by group, in the cache; returns the number of bytes of the codes.
  private func sumCodes(of segment: Segment, into payload: UnsafeMutableRawPointer) -> Int {
    var context = EncodingContext(seed: options.seed, step: progress.step, stream: options.streams.sums(of: rank))
    var (end, place, group) = (0, segment.ownedOffset, segment.groups.lowerBound)
    while group < segment.groups.upperBound {
      let next = geometry.runEnd(group, in: segment)
      let (range, areSingle) = (geometry.groupStarts[group]..<geometry.groupStarts[next], next > group + 1)
      geometry.move(&context, to: group)
      coder.decodeSum(
        &sources, codeCount: contributors.count, count: range.count, areSingle: areSingle, into: scratch.baseAddress)
      options.ownerTransform?(range, scratch.baseAddress)
      end += ownerCoder.encode(
        scratch.baseAddress, at: place, count: range.count, areSingle: areSingle, into: payload + end, context: context)
      (place, group) = (place + range.count, next)
    }
    return end
  }

  /// Adds the contributions to `segment`, at `sources`, into `values`, and for an in-place sum also over the gradients of all
  /// ranks of the host: only this owner reads these values, and they have just come into its cache.
  ///
  /// - Returns: Their number of bytes.
  private func sumFloats(of segment: Segment, into values: UnsafeMutablePointer<Float>) -> Int {
    guard case .open(.inPlace) = progress.gate else {
      coder.decodeSum(&sources, codeCount: contributors.count, count: segment.elements.count, into: values)
      options.ownerTransform?(segment.elements, values)
      return segment.payloadByteCount
    }
    // Each block of the sum is written once, and copied while it is in the cache.
    var targets = (0..<rankCount).compactMap { gradient.values(of: $0).map { $0 + segment.elements.lowerBound } }
    let sum = roles.hasRemoteRanks ? values : targets.removeFirst()
    let blockCount = CodedAllReduce.blockCount
    sources.withUnsafeMutableBufferPointer { sources in
      for start in stride(from: 0, to: segment.elements.count, by: blockCount) {
        let count = min(blockCount, segment.elements.count - start)
        coder.decodeSum(sources.baseAddress!, codeCount: sources.count, count: count, into: sum + start)
        let first = segment.elements.lowerBound + start
        options.ownerTransform?(first..<first + count, sum + start)
        for target in targets { copy(sum + start, count: count, to: target + start) }
      }
    }
    return segment.payloadByteCount
  }
}
