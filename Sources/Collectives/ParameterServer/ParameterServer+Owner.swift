internal import Buffers
internal import Codecs

// What a rank does as the owner of a shard.
extension ParameterServer {
  /// Takes what has arrived, in the order of the run, and answers, until nothing is left to take.
  func serve(polls: Bool = true) throws {
    if polls { try messages.poll() }
    while true {
      for arrival in messages.takeArrivals() {
        switch arrival {
        case .push(let worker): server.note(worker)
        case .end(let worker): server.note(-1 - worker)
        case .answer(let owner, let local):
          let worker = workers[local]
          take(answerOf: owner, to: worker, messages.answer(from: owner, to: local))
          if worker.minibatch == nil && worker.awaited.isEmpty { try messages.sendEnd(of: local) }
        }
      }
      guard let event = server.next() else { return }
      let released = event >= 0 ? server.take(received(from: event)) : server.finish(-1 - event)
      for worker in released { try answer(worker) }
    }
  }

  /// Decodes a push that has arrived.
  private func received(from worker: Int) -> ShardServer.Push {
    let message = messages.push(from: worker)
    let header = message.header
    if header.samples > 0 {
      (usesFloats ? floats : codes).decode(
        rank, message.codes, by: usesFloats ? floatCoder : differenceCoder, setting: server.gradient(of: worker))
    }
    if header.isStopRequested && rank == 0 { endWithStep() }
    return ShardServer.Push(worker: worker, minibatch: header.minibatch, samples: Int(header.samples))
  }

  /// Ends the segment with the step of which a minibatch was handed out.
  private func endWithStep() {
    let (first, count) = (minibatches.lowerBound, settings.workerCount)
    let steps = (nextMinibatch - first + count - 1) / count
    minibatches = first..<min(first + steps * count, minibatches.upperBound)
  }

  /// Answers a worker's push with what has changed, and the owner of the first shard with a minibatch.
  private func answer(_ worker: Int) throws {
    let message = try messages.answer(to: worker)
    var header = ServerMessages.Header()
    if rank == 0 && nextMinibatch < minibatches.upperBound {
      header.minibatch = nextMinibatch
      nextMinibatch += 1
    }
    if usesFloats || settings.pullsFloats {
      header.byteCount = floats.encode(
        rank, server.pull(by: worker), by: floatCoder, at: 0, into: message.codes, context: EncodingContext())
    } else {
      server.pull(by: worker, scratch: scratch.baseAddress) { difference in
        let context = EncodingContext(seed: settings.seed, step: server.history.count, stream: 2 * worker + 1)
        differenceCoder.clear()
        header.byteCount = codes.encode(rank, difference, by: differenceCoder, at: 0, into: message.codes, context: context)
        codes.decode(rank, message.codes, by: differenceCoder, setting: difference)
      }
    }
    message.header = header
    try messages.send(answerTo: worker)
  }
}
