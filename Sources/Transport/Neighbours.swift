public import MPI

#if canImport(Glibc)
  internal import Glibc
#endif

/// The other processes of a job on this host: whether each still exists, according to the operating system.
///
/// It knows nothing about ranks on other hosts.
public struct Neighbours: Sendable {
  private let processes: [(rank: Int, number: pid_t)]
  /// Whether some ranks of the job are on other hosts.
  public let areOthersElsewhere: Bool

  /// Asks every rank for its process and host.
  ///
  /// Collective; one message of a few bytes to each other rank.
  ///
  /// - Throws: `ExchangeError.timedOut` if a rank stays away.
  public init(_ world: Communicator, patience: Patience) throws {
    let own = Neighbours.answer(of: world)
    let answers = try RollCall(world, patience: patience).gather(Array(own.utf8), activity: "the start of the job")
    self.init(rank: world.rank, answers: answers.map { String(decoding: $0, as: UTF8.self) })
  }

  /// This rank's answer.
  static func answer(of world: Communicator) -> String { "\(getpid()) \(world.processorName)" }

  /// Creates the list for rank `rank` from the answers of all ranks.
  init(rank: Int, answers: [String]) {
    let words = answers.map { $0.split(separator: " ", maxSplits: 1) }
    let isHere = words.map { $0.last == words[rank].last }
    areOthersElsewhere = isHere.contains(false)
    // A process that is not visible now is in a container of its own.
    processes = words.enumerated().compactMap { peer, words in
      guard peer != rank, isHere[peer], let number = words.first.flatMap({ pid_t($0) }), Neighbours.state(of: number) != nil
      else { return nil }
      return (peer, number)
    }
  }

  /// The lowest rank of this host whose process has ended; nil if all are running.
  public var lost: Int? { processes.first { Neighbours.state(of: $0.number) == nil }?.rank }

  /// The ranks of this host whose processes have ended or are stopped.
  var idle: [Int] { processes.filter { [nil, "T", "t"].contains(Neighbours.state(of: $0.number)) }.map(\.rank) }

  /// The state of a process, as the system's letter; nil if it has ended.
  private static func state(of process: pid_t) -> Character? {
    guard kill(process, 0) == 0 || errno == EPERM else { return nil }
    guard let status = textOfSystemFile("/proc/\(process)/stat"),
      let end = status.lastIndex(of: ")"), let state = status[status.index(after: end)...].first(where: { $0 != " " })
    else { return "?" }
    return state == "Z" || state == "X" ? nil : state
  }
}
