public import MPI

/// The errors between ranks, each described in one sentence.
public enum ExchangeError: Error, CustomStringConvertible {
  /// Nothing arrived for `seconds` seconds.
  case timedOut(activity: String, awaited: [String], seconds: Double)
  /// A message is not the one expected next.
  case unexpectedMessage(from: String, detail: String)
  /// A host does not have enough memory for its ranks to share; possibly only the ranks of one group see this.
  case noSharedMemory(host: String, reason: String, isOnAllRanks: Bool)
  /// Models that must be equal differ.
  case diverged(tensors: [String], ranks: [Int], step: Int)

  public var description: String {
    switch self {
    case .timedOut(let activity, let awaited, let seconds):
      "no progress for \(Int(seconds.rounded())) s in \(activity): waiting for \(awaited.joined(separator: ", "))"
    case .unexpectedMessage(let sender, let detail):
      "a message from \(sender) is not the one that comes next (\(detail)); are all ranks running the same program and options?"
    case .noSharedMemory(let host, let reason, _):
      "on \(host) \(reason); make /dev/shm larger, or let ranks exchange by messages (--transport messages)"
    case .diverged(let tensors, let ranks, let step):
      "the models differ at step \(step): tensor \(tensors.joined(separator: ", ")) "
        + "on rank \(ranks.map(String.init).joined(separator: ", "))"
    }
  }
}

extension ExchangeError {
  /// The names of the awaited ranks; empty if none is awaited.
  public var awaited: [String] {
    if case .timedOut(_, let awaited, _) = self { awaited } else { [] }
  }

  /// Whether every rank throws the same error, so that one may report for all.
  public var isOnAllRanks: Bool {
    switch self {
    case .timedOut, .unexpectedMessage: false
    case .noSharedMemory(_, _, let isOnAllRanks): isOnAllRanks
    case .diverged: true
    }
  }
}

extension ExchangeError: ExitStatusProviding {
  /// 75 if a peer is missing, so that a resume is possible; 74 if memory is; 70 if the program is at fault.
  public var exitStatus: Int32 {
    switch self {
    case .timedOut: 75
    case .noSharedMemory: 74
    case .unexpectedMessage, .diverged: 70
    }
  }
}
