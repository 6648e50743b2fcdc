internal import Collectives
internal import Datasets
internal import Files
internal import MPI

/// Does something that may fail on one rank alone, such as opening a file, and fails on all ranks if it fails on any.
///
/// No rank waits for one that gave up, and all end with the same status. Collective.
///
/// - Parameters:
///   - agreement: How the ranks tell one another.
///   - status: The exit status where the error has none of its own.
///   - body: What may fail; not collective.
/// - Throws: `TrainingError` with the words of the lowest rank that failed.
func together<Result>(
  _ agreement: Agreement, otherwise status: TrainingError.ExitStatus, _ body: () throws -> Result
) throws -> Result {
  var result: Result?
  var failure: (text: String, status: Int32)?
  do { result = try body() } catch { failure = ("\(error)", exitStatus(of: error) ?? status.rawValue) }
  let statuses = try agreement.gather([UInt64(failure?.status ?? 0)]).map { Int32($0[0]) }
  guard let rank = statuses.firstIndex(where: { $0 != 0 }) else { return result! }
  let text = try agreement.share(failure?.text, from: rank)
  // What rank 0 sees is most likely what all see; a fault of another rank alone is that rank's.
  throw TrainingError(
    rank == 0 ? text : "rank \(rank): \(text)",
    exitStatus: TrainingError.ExitStatus(rawValue: statuses[rank]) ?? status)
}

/// The exit status that an error asks for, nil where it does not say.
public func exitStatus(of error: any Error) -> Int32? {
  switch error {
  case let error as any ExitStatusProviding: error.exitStatus
  case let error as CheckpointError: error.exitStatus
  case is FileError: TrainingError.ExitStatus.inputOutput.rawValue
  case let error as DataError where error.isOutOfMemory: TrainingError.ExitStatus.inputOutput.rawValue
  default: nil
  }
}

/// Whether the error is one of the exchange that all ranks throw together.
public func isOnAllRanks(_ error: any Error) -> Bool { (error as? ExchangeError)?.isOnAllRanks ?? false }
