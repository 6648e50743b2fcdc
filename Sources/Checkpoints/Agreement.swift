internal import Collectives
package import MPI
package import Transport

/// Agreement of ranks on what only one of them may have seen, such as a full disk or a damaged file.
///
/// Every function is collective. No rank continues before all know, so that none waits for one that gave up.
package struct Agreement {
  package let world: Communicator
  /// What is being agreed on, for the watchdog's message.
  package var activity: String
  /// How words are sent, with a watchdog that names a missing rank.
  private let records: RecordExchange

  /// Agreement over the ranks of `world`, by messages only: it must work before it is known what ranks may share.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - world: All ranks.
  ///   - activity: What is being agreed on.
  ///   - patience: How long a rank may keep the others waiting for a gradient; disks are slower, and get ten times as long.
  package init(
    world: Communicator, activity: String = "the start of the run", patience: Patience = Patience()
  ) throws {
    self.world = world
    self.activity = activity
    records = try RecordExchange(HostMap(world, transport: .messages, patience: patience.times(10)))
  }

  /// The same ranks with another activity.
  package func about(_ activity: String) -> Agreement {
    var agreement = self
    agreement.activity = activity
    return agreement
  }

  /// The error of the lowest rank that has one; nil if none has.
  package func firstProblem(_ problem: CheckpointError?) throws -> (rank: Int, error: CheckpointError)? {
    let code: UInt64 = problem.map { $0.kind == .configuration ? 2 : 1 } ?? 0
    let codes = try gather([code]).map { $0[0] }
    guard let rank = codes.firstIndex(where: { $0 != 0 }) else { return nil }
    let text = try share(problem?.description, from: rank)
    return (rank, CheckpointError(codes[rank] == 2 ? .configuration : .inputOutput, text))
  }

  /// The numbers of every rank, by rank; each rank gives the same count.
  package func gather(_ numbers: [UInt64]) throws -> [[UInt64]] {
    var all = Array(repeating: [UInt64](), count: world.count)
    // Ranks meet even if they have nothing to send.
    for start in stride(from: 0, to: max(numbers.count, 1), by: records.capacity) {
      let piece = Array(numbers[start..<min(start + records.capacity, numbers.count)])
      for (rank, words) in try records.gather(piece, activity: activity).enumerated() { all[rank] += words }
    }
    return all
  }

  /// The text of the lowest rank that gives one; nil if none does.
  package func firstText(_ text: String?) throws -> String? {
    let given = try gather([text == nil ? 0 : 1])
    guard let rank = given.firstIndex(where: { $0 == [1] }) else { return nil }
    return try share(text, from: rank)
  }

  /// The text that rank `root` gives; the others pass nil.
  package func share(_ text: String?, from root: Int = 0) throws -> String {
    var bytes = world.rank == root ? Array((text ?? "").utf8) : []
    let count = Int(try gather([UInt64(bytes.count)])[root][0])
    if world.rank != root { bytes = Array(repeating: 0, count: count) }
    // One record at a time: texts are short.
    let piece = records.capacity * 8
    for start in stride(from: 0, to: bytes.count, by: piece) {
      var words = Array(repeating: UInt64(0), count: records.capacity)
      let range = start..<min(start + piece, bytes.count)
      for index in range { words[(index - start) / 8] |= UInt64(bytes[index]) << UInt64((index - start) % 8 * 8) }
      words = try records.gather(words, activity: activity)[root]
      for index in range {
        let (word, byte) = (index - start).quotientAndRemainder(dividingBy: 8)
        bytes[index] = UInt8(truncatingIfNeeded: words[word] >> UInt64(byte * 8))
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension Agreement {
  /// Runs `body`, which may fail on one rank alone, such as opening a file, and fails on all ranks if it fails on any.
  ///
  /// No rank waits for one that gave up, and all end with the same status. Collective.
  ///
  /// - Parameters:
  ///   - status: The exit status if the error has none of its own.
  ///   - statusOf: The exit status that an error asks for; nil if it has none.
  ///   - body: What may fail; not collective.
  /// - Throws: `TrainingError` with the message of the lowest rank that failed.
  package func together<Result>(
    otherwise status: TrainingError.ExitStatus,
    statusOf: (any Error) -> Int32? = { ($0 as? any ExitStatusProviding)?.exitStatus }, _ body: () throws -> Result
  ) throws -> Result {
    var result: Result?
    var failure: (text: String, status: Int32)?
    do { result = try body() } catch { failure = ("\(error)", statusOf(error) ?? status.rawValue) }
    let statuses = try gather([UInt64(failure?.status ?? 0)]).map { Int32($0[0]) }
    guard let rank = statuses.firstIndex(where: { $0 != 0 }) else { return result! }
    let text = try share(failure?.text, from: rank)
    // What rank 0 sees is most likely what all see; a fault of another rank alone names that rank.
    throw TrainingError(
      rank == 0 ? text : "rank \(rank): \(text)",
      exitStatus: TrainingError.ExitStatus(rawValue: statuses[rank]) ?? status)
  }
}

/// Runs `work`, which may fail, and returns its error.
package func problem(of work: () throws -> Void) -> CheckpointError? {
  do {
    try work()
    return nil
  } catch let error as CheckpointError {
    return error
  } catch {
    return CheckpointError(.inputOutput, "\(error)")
  }
}
