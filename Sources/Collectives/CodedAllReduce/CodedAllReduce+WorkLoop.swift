internal import Buffers
internal import Codecs
internal import MPI
internal import Transport

extension CodedAllReduce {
  /// Does one unit of work: adds a segment as its owner, or encodes one and hands it on, or decodes one.
  ///
  /// Owners' work comes first, because others wait for it; decoding last, because nobody does. It may be called by any thread, one
  /// at a time.
  ///
  /// - Throws: `ExchangeError` where a rank is missing or out of step; the exchange is given up then.
  public func advance() throws -> ExchangeTurn {
    guard isActive else { return .done }
    do {
      options.pause?()
      let start = ContinuousClock.now
      guard rankCount > 1 else { return deliverAlone(since: start) }
      pollMemory()
      // While there is work, messages can wait a little: to ask MPI costs as much as a small unit, or a turn of the scheduler where
      // it gives way to others.
      if progress.unpolledTurns >= CodedAllReduce.turnsBetweenPolls { try pollMessages() }
      if try work(since: start) { return .busy }
      if progress.unpolledTurns > 0 {
        try pollMessages()
        if try work(since: start) { return .busy }
      }
      if try isComplete() {
        end()
        return .done
      }
      // The next turn asks again.
      progress.unpolledTurns = 1
      try wait(since: start)
      return .idle
    } catch {
      abandon()
      throw error
    }
  }

  /// Does one unit of work, if there is one.
  private func work(since start: ContinuousClock.Instant) throws -> Bool {
    if isSumReady {
      let segment = try sumNext()
      clock.note(.sum, segment.elements, since: start)
    } else if let segment = try encodeNext() {
      clock.note(.encode, segment.elements, since: start)
    } else if let (segment, kind) = decodeNext() {
      clock.note(kind, segment.elements, since: start)
    } else {
      return false
    }
    progress.unpolledTurns += 1
    return true
  }

  /// Gives up an exchange that cannot end, so that MPI can be left in order.
  public func abandon() { messages.abandon() }

  /// Ends the exchange.
  private func end() {
    isActive = false
    exchangeCount += 1
    progress.gate = .closed
    clock.endWait(at: .now)
  }

  // MARK: What is ready

  /// Looks what the ranks of this host have made readable.
  private func pollMemory() {
    pollReadiness()
    for (owner, source) in roles.readShards {
      let counter = source == owner ? memory.sumCounter(of: owner) : memory.arrivalCounter(of: source, shard: owner)
      noteArrivals(of: 2, of: owner, upTo: counter.load() - exchangeCount * geometry.segments[owner].count)
    }
    for contributor in roles.readContributors {
      if roles.readsInPlace(contributor) {
        noteFloats(of: contributor, upTo: readyCount(of: contributor))
      } else {
        let ready = memory.contributionCounter(of: contributor, to: rank).load()
        noteArrivals(of: 1, of: contributor, upTo: ready - exchangeCount * geometry.segments[rank].count)
      }
    }
  }

  /// Lets MPI work, and looks what has arrived.
  private func pollMessages() throws {
    progress.unpolledTurns = 0
    guard roles.hasRemoteRanks else { return }
    try messages.poll { stage, sender, byteCount in
      traffic.networkBytesReceived += byteCount
      if stage == 1 {
        progress.availableContributions[sender] += 1
      } else {
        noteArrival(ofShard: sender)
      }
    } available: { stage, sender in
      stage == 1 ? progress.availableContributions[sender] : progress.availableSums[sender]
    }
  }

  /// Publishes how much of the own gradient is final, and looks how much all ranks of the party have.
  private func pollReadiness() {
    guard progress.partyReadyCount < layout.count else { return }
    let announced = announcedReadyCount
    if announced > progress.readyCount {
      progress.readyCount = announced
      memory.readyCounter(of: rank).store(exchangeCount * layout.count + announced)
      if roles.readsInPlace(rank) { noteFloats(of: rank, upTo: announced) }
    }
    progress.partyReadyCount = party.reduce(progress.readyCount) { $1 == rank ? $0 : min($0, readyCount(of: $1)) }
  }

  /// How many values of the gradient of a rank of this host are final in this exchange.
  private func readyCount(of peer: Int) -> Int {
    min(memory.readyCounter(of: peer).load() - exchangeCount * layout.count, layout.count)
  }

  /// Counts segments of the own shard that can be read in a gradient whose first `ready` values are final.
  private func noteFloats(of contributor: Int, upTo ready: Int) {
    let segments = geometry.segments[rank]
    var available = progress.availableContributions[contributor]
    while available < segments.count && segments[available].elements.upperBound <= ready {
      if contributor != rank { traffic.hostBytesReceived += segments[available].payloadByteCount }
      available += 1
    }
    progress.availableContributions[contributor] = available
  }

  /// Counts segments that have become readable in the window; those of a peer's next exchange are not this one's.
  private func noteArrivals(of stage: Int, of peer: Int, upTo count: Int) {
    let segments = geometry.segments[stage == 1 ? rank : peer]
    var available = stage == 1 ? progress.availableContributions[peer] : progress.availableSums[peer]
    while available < min(count, segments.count) {
      let segment = segments[available]
      traffic.hostBytesReceived += payloadByteCount(
        of: segment, at: stage == 1 ? contribution(of: peer, to: segment) : sum(of: segment))
      available += 1
    }
    if stage == 1 { progress.availableContributions[peer] = available } else { progress.availableSums[peer] = available }
  }

  /// Counts a segment of a sum that came by message, and lets the neighbours read it.
  private func noteArrival(ofShard owner: Int) {
    let segment = geometry.segments[owner][progress.availableSums[owner]]
    progress.availableSums[owner] += 1
    guard party.count > 1 else { return }
    memory.arrivalCounter(of: rank, shard: owner).store(
      exchangeCount * geometry.segments[owner].count + progress.availableSums[owner])
    let byteCount = payloadByteCount(of: segment, at: sum(of: segment))
    for _ in party.dropFirst() { traffic.addReturned(byteCount, isOnOneHost: true) }
  }

  /// The bytes of the codes of a segment, which lie at `payload` behind a header if they vary.
  private func payloadByteCount(of segment: Segment, at payload: @autoclosure () -> UnsafeRawPointer) -> Int {
    codec.hasVaryingLength
      ? MessageHeader.payloadByteCount(at: payload() - MessageHeader.byteCount) : segment.payloadByteCount
  }

  /// Whether the caller waits for the end; before that, a turn without work costs nobody anything.
  private var isWanted: Bool { if case .closed = progress.gate { false } else { true } }

  private var isSumReady: Bool {
    progress.summedCount < geometry.segments[rank].count
      && contributors.allSatisfy { progress.availableContributions[$0] > progress.summedCount }
  }

  private func isComplete() throws -> Bool {
    if case .closed = progress.gate { return false }
    for owner in 0..<rankCount where progress.decodedSums[owner] < geometry.segments[owner].count { return false }
    return try messages.haveAllLeft()
  }

  // MARK: Time

  /// Sends `segment`, whose header and codes lie at `message`, to another host; counts it, and tells the observer.
  func send(
    _ segment: Segment, payloadByteCount: Int, stage: ExchangeMessages.Stage, at message: UnsafeRawPointer, to peer: Int
  ) throws {
    let start = options.observer == nil ? nil : ContinuousClock.now
    let byteCount = MessageHeader.byteCount + payloadByteCount
    try messages.send(UnsafeRawBufferPointer(start: message, count: byteCount), stage: stage, to: peer)
    traffic.networkBytesSent += byteCount
    if stage == 2 { traffic.returnedBytesSent += byteCount }
    traffic.messagesSent += 1
    guard let start else { return }
    options.observer?(
      ExchangeEvent(
        kind: .send, elements: segment.elements, start: start, end: .now, receiver: hosts.numbers[peer], byteCount: byteCount))
  }

  private func wait(since start: ContinuousClock.Instant) throws {
    // Others are not to blame while the own gradient is not ready, or the sums are not wanted yet.
    let phase = awaitedPhase
    try clock.wait(since: start, isWanted: isWanted, isForOthers: phase != nil) { seconds in
      let (ranks, what) = awaited(in: phase!)
      return ExchangeError.timedOut(
        activity: "the gradient exchange (\(what))", awaited: ranks.map(hosts.name), seconds: seconds)
    }
  }

  /// What others can keep this rank waiting for.
  private enum Phase { case gradients, contributions, sums, departures }

  /// What keeps this rank waiting; nil where it is not others.
  ///
  /// A waiting rank asks often: it costs next to nothing.
  private var awaitedPhase: Phase? {
    if progress.encodedCount < encodingOrder.count {
      return progress.readyCount >= encodingOrder[progress.encodedCount].elements.upperBound ? .gradients : nil
    }
    if progress.readyCount < layout.count { return nil }
    if progress.summedCount < geometry.segments[rank].count && !isSumReady { return .contributions }
    for owner in 0..<rankCount where owner != rank && progress.availableSums[owner] < geometry.segments[owner].count {
      return .sums
    }
    return isWanted && messages.areLeaving ? .departures : nil
  }

  /// The ranks that keep this one waiting, and for what.
  private func awaited(in phase: Phase) -> (ranks: [Int], what: String) {
    switch phase {
    case .gradients:
      let owing = party.filter { $0 != rank && readyCount(of: $0) <= progress.partyReadyCount }
      return (owing, what("the gradient", encodingOrder[progress.encodedCount]))
    case .contributions:
      let owing = contributors.filter { progress.availableContributions[$0] <= progress.summedCount }
      return (owing, what("contributions", geometry.segments[rank][progress.summedCount]))
    case .sums:
      let owing = (0..<rankCount).filter { $0 != rank && progress.availableSums[$0] < geometry.segments[$0].count }
      return (owing, what("sums", geometry.segments[owing[0]][progress.availableSums[owing[0]]]))
    case .departures: return (messages.slowReceivers, "messages to them")
    }
  }

  private func what(_ kind: String, _ segment: Segment) -> String {
    let start = segment.elements.lowerBound
    let tensor = layout.tensors.first { $0.range.upperBound > start }
    return "\(kind) of \(tensor?.name ?? "nothing")"
  }
}
