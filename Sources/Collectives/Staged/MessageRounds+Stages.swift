internal import Buffers
internal import Kernels
internal import Transport

// The rounds as stages of an exchange.
extension MessageRounds {
  /// The number of ranks.
  var peers: Range<Int> { 0..<rankCount }

  /// Begins the rounds, once no rank still reads those of the last step and the contribution is final.
  func beginning(_ exchange: StagedExchange, _ work: @escaping () throws -> Void) -> Stage {
    Stage(
      .encode, awaits: "the end of the last exchange",
      isReady: { [self] in exchange.isContributionReady && blocks.readers.isEmpty },
      awaited: { [self] in exchange.isContributionReady ? blocks.readers : [] }
    ) { [self] in
      blocks.start(sampleCount: 1)
      try work()
    }
  }

  /// Processes the message from `peer` in a round.
  func message(
    from peer: Int, in round: Int, _ kind: ExchangeEvent.Kind,
    _ work: @escaping (_ message: UnsafeBufferPointer<Float>) throws -> Void
  ) -> Stage {
    Stage(
      kind, awaits: "the exchange of \(rounds[round].name)",
      isReady: { [self] in
        try blocks.progress()
        return blocks.isThere(round, from: peer)
      }, awaited: { [peer] }
    ) { [self] in try work(message(from: peer, in: round)) }
  }

  /// Processes the messages from `peers` in a round, in this order, except empty ones.
  func messages(
    from peers: some Sequence<Int>, in round: Int, _ kind: ExchangeEvent.Kind,
    _ work: @escaping (_ message: UnsafePointer<Float>, _ peer: Int) throws -> Void
  ) -> [Stage] {
    peers.map { peer in
      message(from: peer, in: round, kind) { message in
        if let values = message.baseAddress, !message.isEmpty { try work(values, peer) }
      }
    }
  }

  /// Owners add the messages of a round in rank order, and send the sums to all in the next one; `values` takes those of all shards.
  ///
  /// The messages of both rounds have a float for each value of a shard.
  func summing(_ round: Int, of shards: [Range<Int>], into values: FloatBuffer) -> [Stage] {
    let adding = messages(from: peers, in: round, .sum) { [self] terms, peer in
      let (sum, count) = (message(in: round + 1), shards[rank].count)
      if peer == 0 { copy(terms, count: count, to: sum) } else { add(terms, count: count, to: sum) }
    }
    let returning = Stage(.sum) { [self] in try send(round + 1) }
    let taking = messages(from: peers, in: round + 1, .decode) { sum, owner in
      copy(sum, count: shards[owner].count, to: values.baseAddress + shards[owner].lowerBound)
    }
    return adding + [returning] + taking
  }

  /// Sends messages of a round whose lengths `write` returns: one for each rank, or one for all if the round is gathered.
  func sending(_ round: Int, _ kind: ExchangeEvent.Kind, _ write: @escaping () throws -> [Int]) -> [Stage] {
    var counts: [Int] = []
    return [
      Stage(kind) { [self] in
        counts = try write()
        try announce(round, counts: counts)
      },
      Stage.records(records, kind, activity: MessageRounds.activity(of: rounds[round])) { [self] all in
        try send(round, counts: counts, announced: all)
      },
    ]
  }

  /// Sends the messages of a round that are full or none, as `write` returns; `learn` gets to know whose there are, the same on every
  /// rank.
  func sendingOrNot(
    _ round: Int, _ kind: ExchangeEvent.Kind, _ write: @escaping () throws -> Bool, learn: @escaping (_ senders: [Bool]) -> Void
  ) -> [Stage] {
    var sends = false
    return [
      Stage(kind) { [self] in
        sends = try write()
        try announce(round, counts: [sends ? 1 : 0])
      },
      Stage.records(records, kind, activity: MessageRounds.activity(of: rounds[round])) { [self] all in
        let senders = all.map { $0[0] != 0 }
        try send(
          round, outgoing: slots[round].outgoing.map { sends ? $0.count : 0 },
          incoming: zip(slots[round].incoming, senders).map { $1 ? $0.count : 0 })
        learn(senders)
      },
    ]
  }

  /// Ends the rounds once all messages have arrived and left.
  func ending(_ work: @escaping () -> Void = {}) -> Stage {
    Stage(
      .decode, awaits: "messages that are still on their way",
      isReady: { [self] in
        try blocks.progress()
        return !blocks.isUnderWay
      }, awaited: { [self] in blocks.peersUnderWay }
    ) { [self] in
      blocks.leave()
      work()
    }
  }
}
