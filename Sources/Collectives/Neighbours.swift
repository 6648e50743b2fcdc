internal import Foundation
public import MPI

#if canImport(Glibc)
  internal import Glibc
#endif

/// The other processes of a job on this host: whether each is still there, as the system says.
///
/// Of ranks on other hosts it says nothing.
public struct Neighbours: Sendable {
  private let processes: [(rank: Int, number: pid_t)]
  /// Whether some ranks of the job are on other hosts.
  public let areOthersElsewhere: Bool

  /// Asks every rank for its process and host.
  ///
  /// Collective; a message of some bytes to each other rank.
  ///
  /// - Throws: `ExchangeError.timedOut` where a rank stays away.
  public init(_ world: Communicator, patience: Patience) throws {
    let own = "\(getpid()) \(world.processorName)"
    let answers = try RollCall(world, patience: patience).gather(Array(own.utf8), activity: "the start of the job")
      .map { String(decoding: $0, as: UTF8.self).split(separator: " ", maxSplits: 1) }
    let isHere = answers.map { $0.last.map(String.init) == world.processorName }
    areOthersElsewhere = isHere.contains(false)
    // A process that cannot be seen now is in a container of its own.
    processes = answers.enumerated().compactMap { rank, answer in
      guard rank != world.rank, isHere[rank], let number = answer.first.flatMap({ pid_t($0) }), Neighbours.isThere(number)
      else { return nil }
      return (rank, number)
    }
  }

  /// The lowest rank of this host whose process has ended; nil where all are there.
  public var lost: Int? { processes.first { !Neighbours.isThere($0.number) }?.rank }

  /// Whether a process is there, and more than what its parent has not asked for yet.
  private static func isThere(_ process: pid_t) -> Bool {
    guard kill(process, 0) == 0 || errno == EPERM else { return false }
    guard let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      let end = status.lastIndex(of: ")")
    else { return true }
    let state = status[status.index(after: end)...].drop { $0 == " " }.first
    return state != "Z" && state != "X"
  }
}
