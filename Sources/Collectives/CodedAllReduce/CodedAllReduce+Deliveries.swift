internal import Buffers
internal import Codecs
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

// The end of stage 2: what arrives is decoded and delivered.
extension CodedAllReduce {
  /// Decodes the next segment that has arrived, the nearest owner's first; nil if there is none or sums are not wanted yet.
  func decodeNext() -> (Segment, ExchangeEvent.Kind)? {
    if case .closed = progress.gate, decoded.count == 0 { return nil }
    for distance in 0..<rankCount {
      let owner = (rank + distance) % rankCount
      guard progress.decodedSums[owner] < progress.availableSums[owner] else { continue }
      let segment = geometry.segments[owner][progress.decodedSums[owner]]
      var kind = ExchangeEvent.Kind.decode
      switch progress.gate {
      case .closed: decode(segment, into: .buffer(decoded))
      case .open(let destination) where segment.index < progress.aheadSums[owner]:
        move(segment, into: destination)
        kind = .deliver
      case .open(let destination): decode(segment, into: destination)
      case .dropping: break
      }
      progress.decodedSums[owner] += 1
      return (segment, kind)
    }
    return nil
  }

  /// Moves the values of a segment that was decoded ahead to their destination.
  private func move(_ segment: Segment, into destination: Sink) {
    let values = decoded.baseAddress + segment.elements.lowerBound
    switch destination {
    case .inPlace, .change: fatalError("a sum goes to a buffer or to an update")
    case .buffer(let buffer): memcpy(buffer.baseAddress + segment.elements.lowerBound, values, 4 * segment.elements.count)
    case .update(let update): update(segment.elements, values)
    }
  }

  /// The address of the sum of a segment.
  func sum(of segment: Segment) -> UnsafeRawPointer {
    let owner = segment.shard
    let source = routes.source(ofShard: owner, for: rank)
    if source == owner {
      return memory.sums(of: owner) + segment.payloadOffset - geometry.codeSpace(ofShard: owner).lowerBound
    }
    return memory.arrivals(of: source) + segment.payloadOffset
  }

  private func decode(_ segment: Segment, into destination: Sink) {
    // Another thread delivers what was decoded ahead, and other ranks read a gradient once its counter marks it as ready.
    defer { if outgrowsCache { codec.finishStreaming() } }
    var code = sum(of: segment)
    if codec.isIdentity {
      switch destination {
      case .inPlace:
        // Owners on this host have already written the sum.
        guard !routes.areOnOneHost(segment.shard, rank) else { return }
        coder.decode(
          code, count: segment.elements.count, setting: gradient.values.baseAddress + segment.elements.lowerBound,
          streaming: outgrowsCache)
      case .buffer(let buffer):
        coder.decode(
          code, count: segment.elements.count, setting: buffer.baseAddress + segment.elements.lowerBound,
          streaming: outgrowsCache)
      case .update(let update): update(segment.elements, code.assumingMemoryBound(to: Float.self))
      case .change: fatalError("a sum is no change")
      }
      return
    }
    var group = segment.groups.lowerBound
    while group < segment.groups.upperBound {
      let next = geometry.runEnd(group, in: segment)
      let (range, areSingle) = (geometry.groupStarts[group]..<geometry.groupStarts[next], next > group + 1)
      switch destination {
      case .inPlace:
        code += coder.decode(
          code, count: range.count, areSingle: areSingle, setting: gradient.values.baseAddress + range.lowerBound,
          streaming: outgrowsCache)
      case .buffer(let buffer):
        code += coder.decode(
          code, count: range.count, areSingle: areSingle, setting: buffer.baseAddress + range.lowerBound,
          streaming: outgrowsCache)
      case .update(let update):
        code += coder.decode(code, count: range.count, areSingle: areSingle, setting: scratch.baseAddress)
        update(range, scratch.baseAddress)
      case .change: fatalError("a sum is no change")
      }
      group = next
    }
  }

  /// Delivers on a single rank, whose gradient is the sum.
  func deliverAlone(since start: ContinuousClock.Instant) -> ExchangeTurn {
    if case .closed = progress.gate { return .idle }
    if case .open(let destination) = progress.gate {
      options.ownerTransform?(0..<gradient.values.count, gradient.values.baseAddress)
      switch destination {
      case .inPlace: break
      case .buffer(let buffer): buffer.copy(from: gradient.values)
      case .update(let update): update(0..<gradient.values.count, gradient.values.baseAddress)
      case .change: fatalError("a sum is no change")
      }
    }
    clock.note(.decode, 0..<gradient.values.count, since: start)
    isActive = false
    exchangeCount += 1
    progress.gate = .closed
    return .done
  }
}
