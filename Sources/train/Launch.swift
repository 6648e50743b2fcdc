import ArgumentParser
import Buffers
import Foundation
import Glibc
import MPI
import Synchronization
import Trainer

/// How the program starts as one of several ranks, and how it ends.
enum Launch {
  /// The rank that the launcher gave this process, known before MPI starts.
  static let rank: Int = {
    for name in ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"] {
      if let text = getenv(name), let rank = Int(String(cString: text)) { return rank }
    }
    return 0
  }()

  /// Whether this rank ends in order, so that nobody needs to be told why it was asked to.
  private static let isEnding = Atomic<Bool>(false)

  /// Runs `body` on all ranks and ends with the status that it returns.
  ///
  /// An error that all ranks throw alike is printed by rank 0 alone; any other ends the job.
  static func run(_ body: (Communicator) throws -> Int32) -> Never {
    exit(
      withMPI(threads: .multiple) { world in
        defer { isEnding.store(true, ordering: .releasing) }
        do {
          return try body(world)
        } catch let error where isAgreed(error) {
          if world.rank == 0 { complain("\(error)") }
          return exitStatus(of: error) ?? 70
        }
      })
  }

  /// Ends with what went wrong before MPI started, or with help.
  ///
  /// Where all ranks have the same command line, rank 0 speaks for all; mpirun ends the other ranks as soon as one has failed, so
  /// that the others wait until it has spoken.
  static func end(with error: any Error) -> Never {
    let isFault = Train.exitCode(for: error) != .success
    if !isFault {
      if rank == 0 { print(Train.fullMessage(for: error)) }
      exit(0)
    }
    let isSameOnAllRanks = getenv("OMPI_NUM_APP_CTX").map { strcmp($0, "1") == 0 } ?? false
    if rank != 0 { sleep(1) }
    if rank == 0 || !isSameOnAllRanks { complain(sentence(of: error)) }
    exit(exitStatus(of: error) ?? Train.exitCode(for: error).rawValue)
  }

  /// Says how to go on where the job is being ended from outside and this rank cannot end in order: another has died, or the
  /// first step has not been reached.
  ///
  /// The launcher sends SIGTERM to the ranks that are left, and kills them about a second later. Rank 0 speaks, and rank 1 in case
  /// that rank 0 has died.
  static func tellHowToResume(rank: Int, checkpoint: String?) {
    Thread.detachNewThread {
      while !StopSignal.isRequested { usleep(50_000) }
      let isStarting = StopSignal.answer == .none
      usleep(400_000)
      if StopSignal.answer == .given || isEnding.load(ordering: .acquiring) { return }
      if rank < 2 {
        let state = isStarting ? "before it took a step" : "and still waits for others; if one of them failed, the job is lost"
        complain("rank \(rank) was told to end \(state): \(wayOn(checkpoint))")
      }
      if isStarting { _exit(75) }
    }
  }

  /// Runs `body`; an error that says that a peer was lost also says how the run can go on.
  static func tellingWayOn<Result>(_ checkpoint: String?, _ body: () throws -> Result) throws -> Result {
    do { return try body() } catch let error where exitStatus(of: error) == TrainingError.ExitStatus.peers.rawValue {
      throw LostPeer(description: "\(error); \(wayOn(checkpoint))")
    }
  }

  /// How a job that was lost can go on.
  private static func wayOn(_ checkpoint: String?) -> String {
    checkpoint.map { "start it again with --resume: its checkpoints are in \($0)" } ?? "it had no --checkpoint to go on from"
  }

  /// A peer that stays away, in the words of the exchange that waited, with the way on.
  private struct LostPeer: ExitStatusProviding, CustomStringConvertible {
    let description: String
    var exitStatus: Int32 { TrainingError.ExitStatus.peers.rawValue }
  }

  /// One line for each fault on standard error.
  static func complain(_ text: String) {
    let lines = text.split(separator: "\n").map { "train: \($0)\n" }.joined()
    _ = Array(lines.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  /// Whether all ranks throw this error together, so that one may speak for all.
  private static func isAgreed(_ error: any Error) -> Bool {
    switch error {
    case is TrainingError, is CheckpointError, is OptionError: true
    default: isOnAllRanks(error)
    }
  }

  /// What is wrong with the command line.
  private static func sentence(of error: any Error) -> String {
    if exitStatus(of: error) != nil { return "\(error)" }
    let arguments = CommandLine.arguments.dropFirst()
    let command = arguments.first
    let known =
      switch command {
      case "evaluate": ["checkpoint", "data", "seed", "help"]
      case "list": ["help"]
      case "plan": Train.Plan.optionNames
      default: TrainerOptions.fields.filter { !$0.isHidden }.map(\.name) + ["config", "help", "version"]
      }
    for argument in arguments where argument.hasPrefix("--") {
      let name = String(argument.dropFirst(2).prefix { $0 != "=" })
      let isHidden = TrainerOptions.fields.contains { $0.isHidden && $0.name == name }
      if !known.contains(name) && !isHidden { return unknown("unknown option", name, known: known) }
    }
    return Train.message(for: error)
  }
}
