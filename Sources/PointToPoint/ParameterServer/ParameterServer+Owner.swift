internal import Buffers
internal import Codecs
internal import Transport

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
          try take(answerOf: owner, to: workers[local], messages.answer(from: owner, to: local))
        }
      }
      guard let event = server.next() else { return }
      for worker in event >= 0 ? take(pushOf: event) : server.finish(-1 - event) { try answer(worker) }
      if event >= 0 { service.pushTimes.append(stopwatch.seconds) }
    }
  }

  /// Takes a push that has arrived; returns the workers to answer now.
  private func take(pushOf worker: Int) -> [Int] {
    let message = messages.push(from: worker)
    let header = message.header
    service.pushByteCount += header.byteCount + ServerMessages.Header.byteCount
    if header.isStopRequested && rank == owners[0] { blocks.endWithStep() }
    if rank == owners[0] { blocks.note(pushOf: worker) }
    return server.take(
      pushOf: worker, block: header.block, samples: Int(header.samples), gradientCount: Int(header.gradientCount),
      code: message.codes)
  }

  /// Answers a worker's push with what the worker pulls, and the first owner with a block.
  private func answer(_ worker: Int) throws {
    let message = try messages.answer(to: worker)
    let push = messages.push(from: worker).header
    var header = ServerMessages.Header(pulls: push.pulls)
    if rank == owners[0], let block = blocks.next(for: worker) { header.block = block }
    if header.pulls {
      let context = EncodingContext(seed: settings.seed, step: push.block.lowerBound, stream: 2 * worker + 1)
      header.byteCount = server.rule.encodeAnswer(to: worker, into: message.codes, context: context)
    }
    server.noteAnswer(to: worker, pulls: header.pulls)
    message.header = header
    service.answerByteCount += header.byteCount + ServerMessages.Header.byteCount
    noteLeaving(header, to: placement.rank(of: worker))
    try messages.send(answerTo: worker)
  }
}
