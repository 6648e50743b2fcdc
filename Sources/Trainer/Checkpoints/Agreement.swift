internal import Collectives
internal import MPI

/// How ranks agree about what only one of them may have seen: a disk that is full here, a file that is damaged there.
///
/// Every function is collective. Nobody goes on before all know, so that no rank waits for one that gave up.
struct Agreement {
  let world: Communicator
  /// What words travel by, with a watchdog that names a rank that stays away; nil before a run has begun, when a rank may take
  /// as long as it likes to read its data.
  var records: RecordExchange?
  /// What is being agreed on, for the watchdog's sentence.
  var activity = "a checkpoint"

  init(world: Communicator) { self.world = world }

  /// What went wrong on the lowest rank where something did; nil where nothing did.
  func firstProblem(_ problem: CheckpointError?) throws -> (rank: Int, error: CheckpointError)? {
    let code: UInt64 = problem.map { $0.kind == .configuration ? 2 : 1 } ?? 0
    let codes = try gather([code]).map { $0[0] }
    guard let rank = codes.firstIndex(where: { $0 != 0 }) else { return nil }
    let text = try share(problem?.description, from: rank)
    return (rank, CheckpointError(codes[rank] == 2 ? .configuration : .inputOutput, text))
  }

  /// The numbers of every rank, by rank; as many on each, at most seven.
  func gather(_ numbers: [UInt64]) throws -> [[UInt64]] {
    if let records { return try records.gather(numbers, activity: activity) }
    let all = try world.allGather(numbers)
    return (0..<world.count).map { Array(all[$0 * numbers.count..<($0 + 1) * numbers.count]) }
  }

  /// The text that rank `root` gives; the others give nil.
  func share(_ text: String?, from root: Int = 0) throws -> String {
    var bytes = world.rank == root ? Array((text ?? "").utf8) : []
    let count = Int(try gather([UInt64(bytes.count)])[root][0])
    if world.rank != root { bytes = Array(repeating: 0, count: count) }
    if let records {
      try share(&bytes, from: root, over: records)
    } else if count > 0 {
      try world.broadcast(&bytes, root: root)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A sentence's bytes, a record at a time.
  private func share(_ bytes: inout [UInt8], from root: Int, over records: RecordExchange) throws {
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
  }
}

/// Does something that may fail, and gives what went wrong.
func problem(of work: () throws -> Void) -> CheckpointError? {
  do {
    try work()
    return nil
  } catch let error as CheckpointError {
    return error
  } catch {
    return CheckpointError(.inputOutput, "\(error)")
  }
}
