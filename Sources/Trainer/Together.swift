package import Checkpoints
internal import Collectives
internal import Datasets
internal import Files
internal import MPI
internal import Transport

/// Runs `body`, which may fail on one rank alone (opening a file, say), and fails on all ranks if it fails on any.
///
/// Like `Agreement.together`, with the error statuses of ``exitStatus(of:)``. Collective.
package func together<Result>(
  _ agreement: Agreement, otherwise status: TrainingError.ExitStatus, _ body: () throws -> Result
) throws -> Result {
  try agreement.together(otherwise: status, statusOf: exitStatus, body)
}

/// The exit status that an error specifies; nil if it specifies none.
public func exitStatus(of error: any Error) -> Int32? {
  switch error {
  case let error as any ExitStatusProviding: error.exitStatus
  case let error as CheckpointError: error.exitStatus
  case is FileError: TrainingError.ExitStatus.inputOutput.rawValue
  case let error as DataError where error.isOutOfMemory: TrainingError.ExitStatus.inputOutput.rawValue
  default: nil
  }
}

/// Whether the error is an exchange error that all ranks throw together.
public func isOnAllRanks(_ error: any Error) -> Bool { (error as? ExchangeError)?.isOnAllRanks ?? false }
