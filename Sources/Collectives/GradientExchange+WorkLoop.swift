internal import Buffers
internal import Codecs
internal import MPI

#if canImport(Glibc)
  internal import Glibc
#endif

extension GradientExchange {
  /// Does one unit of work: adds a segment as its owner, or encodes one and hands it on, or decodes one.
  ///
  /// Owners' work comes first, because others wait for it; decoding last, because nobody does.
  public func advance() throws -> Progress {
    guard isActive else { return .done }
    options.pause?()
    guard rankCount > 1 else { return deliverAlone() }
    let start = ContinuousClock.now
    try poll()
    if isSumReady {
      try sumNext()
      timing.sum += ContinuousClock.now - start
    } else if encodedCount < encodingOrder.count {
      try encodeNext()
      timing.encode += ContinuousClock.now - start
    } else if let owner = ownerToDecode {
      decodeNext(of: owner)
      timing.decode += ContinuousClock.now - start
    } else if try isComplete() {
      isActive = false
      exchangeCount += 1
      return .done
    } else {
      try watchdog.idle { seconds in
        ExchangeError.timedOut(activity: "the gradient exchange", awaited: awaitedRanks.map(hosts.name), seconds: seconds)
      }
      timing.wait += ContinuousClock.now - start
      return .idle
    }
    watchdog.progress()
    return .busy
  }

  /// Gives up an exchange that cannot end, so that MPI can be left in order.
  public func abandon() { messages.abandon() }

  // MARK: What is ready

  private func poll() throws {
    for peer in 0..<rankCount where memory.isShared(with: peer) {
      let contributions = memory.contributionCounter(of: peer, to: rank).load()
      let sums = memory.sumCounter(of: peer).load()
      noteArrivals(of: 1, from: peer, upTo: contributions - exchangeCount * geometry.segments[rank].count)
      noteArrivals(of: 2, from: peer, upTo: sums - exchangeCount * geometry.segments[peer].count)
    }
    guard !hosts.remoteRanks.isEmpty else { return }
    try messages.poll { stage, sender, byteCount in
      traffic.networkBytesReceived += byteCount
      if stage == 1 { availableContributions[sender] += 1 } else { availableSums[sender] += 1 }
    } available: { stage, sender in
      stage == 1 ? availableContributions[sender] : availableSums[sender]
    }
  }

  /// Counts segments that have become readable in the window; those of a peer's next exchange are not this one's.
  private func noteArrivals(of stage: Int, from peer: Int, upTo count: Int) {
    let segments = geometry.segments[stage == 1 ? rank : peer]
    var available = stage == 1 ? availableContributions[peer] : availableSums[peer]
    while available < min(count, segments.count) {
      traffic.hostBytesReceived += segments[available].payloadByteCount
      available += 1
    }
    if stage == 1 { availableContributions[peer] = available } else { availableSums[peer] = available }
  }

  private var isSumReady: Bool {
    summedCount < geometry.segments[rank].count && availableContributions.allSatisfy { $0 > summedCount }
  }

  /// An owner whose next sum has arrived, the nearest first.
  private var ownerToDecode: Int? {
    for distance in 0..<rankCount {
      let owner = (rank + distance) % rankCount
      if decodedSums[owner] < availableSums[owner] { return owner }
    }
    return nil
  }

  private func isComplete() throws -> Bool {
    for owner in 0..<rankCount where decodedSums[owner] < geometry.segments[owner].count { return false }
    return try messages.haveAllLeft()
  }

  /// The ranks that keep this one waiting.
  private var awaitedRanks: [Int] {
    let owed =
      summedCount < geometry.segments[rank].count ? (0..<rankCount).filter { availableContributions[$0] <= summedCount } : []
    let owing = (0..<rankCount).filter { availableSums[$0] < geometry.segments[$0].count && $0 != rank }
    return owed.isEmpty ? owing : owed
  }

  // MARK: Stage 1: contributions

  /// Floats need no encoding: the whole gradient is readable at once.
  func publishFloats() {
    availableContributions[rank] = geometry.segments[rank].count
    for owner in 0..<rankCount where memory.isShared(with: owner) {
      let segments = geometry.segments[owner]
      memory.contributionCounter(of: rank, to: owner).store((exchangeCount + 1) * segments.count)
      traffic.hostBytesSent += segments.reduce(0) { $0 + $1.payloadByteCount }
      traffic.messagesSent += segments.count
    }
  }

  private func encodeNext() throws {
    let segment = encodingOrder[encodedCount]
    encodedCount += 1
    let message = memory.contributions + segment.headerOffset
    if codec.isIdentity {
      memcpy(
        memory.contributions + segment.payloadOffset, gradient.values.baseAddress + segment.elements.lowerBound,
        segment.payloadByteCount)
    } else {
      var code = memory.contributions + segment.payloadOffset
      for group in segment.groups {
        let start = geometry.groupStarts[group]
        let count = geometry.groupStarts[group + 1] - start
        let isFinite = codec.encode(
          gradient: gradient.values.baseAddress + start, residual: residual.baseAddress + start, count: count, into: code)
        if !isFinite { nonFiniteGroups += 1 }
        code += geometry.codeStarts[group + 1] - geometry.codeStarts[group]
      }
    }
    if segment.stripe == rank {
      availableContributions[rank] += 1
    } else if memory.isShared(with: segment.stripe) {
      let ready = exchangeCount * geometry.segments[segment.stripe].count + segment.index + 1
      memory.contributionCounter(of: rank, to: segment.stripe).store(ready)
      traffic.hostBytesSent += segment.payloadByteCount
      traffic.messagesSent += 1
    } else {
      traffic.networkBytesSent += try messages.send(segment, stage: 1, at: message, to: segment.stripe)
      traffic.messagesSent += 1
    }
  }

  /// Where the contribution of `peer` to a segment of the own stripe lies.
  private func contribution(of peer: Int, to segment: Segment) -> UnsafeRawPointer {
    if peer == rank || memory.isShared(with: peer) {
      if codec.isIdentity { return UnsafeRawPointer(gradient.values(of: peer)! + segment.elements.lowerBound) }
      return memory.contributions(of: peer) + segment.payloadOffset
    }
    return messages.contributions(of: peer) + segment.payloadOffset - geometry.codeSpace(ofStripe: rank).lowerBound
  }

  // MARK: The owner's sum

  private func sumNext() throws {
    let segment = geometry.segments[rank][summedCount]
    summedCount += 1
    let message = memory.sums + segment.headerOffset - geometry.codeSpace(ofStripe: rank).lowerBound
    var sum = message + MessageHeader.byteCount
    codes.removeAll(keepingCapacity: true)
    for peer in 0..<rankCount { codes.append(contribution(of: peer, to: segment)) }
    if codec.isIdentity {
      sumFloats(of: segment, into: sum.assumingMemoryBound(to: Float.self))
    } else {
      let residual = ownerResidual.baseAddress - ownedRange.lowerBound
      for group in segment.groups {
        let start = geometry.groupStarts[group]
        let count = geometry.groupStarts[group + 1] - start
        codec.decodeSum(codes, codeCount: rankCount, count: count, into: scratch.baseAddress)
        let isFinite = codec.encode(gradient: scratch.baseAddress, residual: residual + start, count: count, into: sum)
        if !isFinite { nonFiniteGroups += 1 }
        let codeByteCount = geometry.codeStarts[group + 1] - geometry.codeStarts[group]
        sum += codeByteCount
        for peer in 0..<rankCount { codes[peer] += codeByteCount }
      }
    }
    availableSums[rank] += 1
    for distance in 1..<rankCount {
      let peer = (rank + distance) % rankCount
      traffic.messagesSent += 1
      if memory.isShared(with: peer) {
        traffic.hostBytesSent += segment.payloadByteCount
      } else {
        traffic.networkBytesSent += try messages.send(segment, stage: 2, at: message, to: peer)
      }
    }
    if hosts.host != nil {
      memory.sumCounter(of: rank).store(exchangeCount * geometry.segments[rank].count + summedCount)
    }
  }

  /// Adds the contributions to `segment`, which `codes` points at, into `values`; in place, also over the gradients of all
  /// ranks of the host: nobody but this owner reads these values of theirs, and they have just come into its cache.
  private func sumFloats(of segment: Segment, into values: UnsafeMutablePointer<Float>) {
    guard case .inPlace = destination else {
      codec.decodeSum(codes, codeCount: rankCount, count: segment.elements.count, into: values)
      return
    }
    let block = GradientExchange.blockCount
    for start in stride(from: 0, to: segment.elements.count, by: block) {
      let count = min(block, segment.elements.count - start)
      let sum = hosts.remoteRanks.isEmpty ? scratch.baseAddress : values + start
      codec.decodeSum(codes, codeCount: rankCount, count: count, into: sum)
      for peer in 0..<rankCount {
        codes[peer] += count * MemoryLayout<Float>.stride
        guard let gradient = gradient.values(of: peer) else { continue }
        copy(sum, count: count, to: gradient + segment.elements.lowerBound + start)
      }
    }
  }

  // MARK: Stage 2: sums

  private func decodeNext(of owner: Int) {
    let segment = geometry.segments[owner][decodedSums[owner]]
    decodedSums[owner] += 1
    var code: UnsafeRawPointer
    if owner == rank || memory.isShared(with: owner) {
      code = memory.sums(of: owner) + segment.payloadOffset - geometry.codeSpace(ofStripe: owner).lowerBound
    } else {
      code = messages.sumMemory + segment.payloadOffset
    }
    if codec.isIdentity {
      let values = code.assumingMemoryBound(to: Float.self)
      switch destination {
      case .inPlace:
        // Owners on this host have written the sum already.
        guard owner != rank, !memory.isShared(with: owner) else { return }
        codec.decode(
          code, count: segment.elements.count, setting: gradient.values.baseAddress + segment.elements.lowerBound,
          streaming: outgrowsCache)
      case .buffer(let buffer):
        codec.decode(
          code, count: segment.elements.count, setting: buffer.baseAddress + segment.elements.lowerBound,
          streaming: outgrowsCache)
      case .update(let update): update(segment.elements, values)
      }
      return
    }
    for group in segment.groups {
      let range = geometry.groupStarts[group]..<geometry.groupStarts[group + 1]
      switch destination {
      case .inPlace:
        codec.decode(
          code, count: range.count, setting: gradient.values.baseAddress + range.lowerBound, streaming: outgrowsCache)
      case .buffer(let buffer):
        codec.decode(code, count: range.count, setting: buffer.baseAddress + range.lowerBound, streaming: outgrowsCache)
      case .update(let update):
        codec.decode(code, count: range.count, setting: scratch.baseAddress, streaming: false)
        update(range, scratch.baseAddress)
      }
      code += geometry.codeStarts[group + 1] - geometry.codeStarts[group]
    }
  }

  /// One rank: the gradient is the sum.
  private func deliverAlone() -> Progress {
    let start = ContinuousClock.now
    switch destination {
    case .inPlace: break
    case .buffer(let buffer): buffer.copy(from: gradient.values)
    case .update(let update): update(0..<gradient.values.count, gradient.values.baseAddress)
    }
    timing.decode += ContinuousClock.now - start
    isActive = false
    exchangeCount += 1
    return .done
  }
}
