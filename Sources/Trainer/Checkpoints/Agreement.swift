internal import MPI

/// How ranks agree about what only one of them may have seen: a disk that is full here, a file that is damaged there.
///
/// Every function is collective. Nobody goes on before all know, so that no rank waits for one that gave up.
struct Agreement {
  let world: Communicator

  /// What went wrong on the lowest rank where something did; nil where nothing did.
  func firstProblem(_ problem: CheckpointError?) throws -> (rank: Int, error: CheckpointError)? {
    let code: UInt64 = problem.map { $0.kind == .configuration ? 2 : 1 } ?? 0
    let codes = try world.allGather([code])
    guard let rank = codes.firstIndex(where: { $0 != 0 }) else { return nil }
    let text = try share(problem?.description, from: rank)
    return (rank, CheckpointError(codes[rank] == 2 ? .configuration : .inputOutput, text))
  }

  /// The numbers of every rank, by rank; as many on each.
  func gather(_ numbers: [UInt64]) throws -> [[UInt64]] {
    let all = try world.allGather(numbers)
    return (0..<world.count).map { Array(all[$0 * numbers.count..<($0 + 1) * numbers.count]) }
  }

  /// The text that rank `root` gives; the others give nil.
  func share(_ text: String?, from root: Int = 0) throws -> String {
    var bytes = world.rank == root ? Array((text ?? "").utf8) : []
    var count = [UInt64(bytes.count)]
    try world.broadcast(&count, root: root)
    if world.rank != root { bytes = Array(repeating: 0, count: Int(count[0])) }
    if count[0] > 0 { try world.broadcast(&bytes, root: root) }
    return String(decoding: bytes, as: UTF8.self)
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
