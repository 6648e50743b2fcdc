import ArgumentParser
import Buffers
import Checkpoints
import Collectives
import Datasets
import Files
import Foundation
import Glibc
import MPI
import Reporting
import Strategies
import Synchronization
import Trainer
import Transport

/// How the program starts as one of several ranks, and how it ends.
enum Launch {
  /// Whether all ranks have reached the end, so that nothing is left to report.
  private static let isEnding = Atomic<Bool>(false)

  /// Runs `body` on all ranks, and exits with the status it returns once all have reached the end.
  ///
  /// An error that all ranks throw alike is printed by rank 0 alone; any other ends the job.
  static func run(_ patience: Patience = TrainerOptions().waiting(), _ body: (Communicator) throws -> Int32) -> Never {
    requireRoomForMPI()
    exit(
      withMPI(threads: .multiple) { world in
        OutOfMemory.whenUnhandled { error in
          // If all ranks have the same limit, the message of the first one is enough.
          if world.rank > 0 { usleep(300_000) }
          complain(world.count > 1 ? "rank \(world.rank): \(error)" : "\(error)")
          world.abort(status: error.exitStatus)
        }
        var status: Int32
        do { status = try body(world) } catch let error where isAgreed(error) {
          if world.rank == 0 { complain("\(error)") }
          status = exitStatus(of: error) ?? 70
        }
        let call = RollCall(world, patience: patience)
        try call.meet("the end of the run")
        isEnding.store(true, ordering: .releasing)
        call.watchEnd()
        return status
      })
  }

  /// Exits if a memory limit leaves too little for MPI, which would fail with many messages and not cleanly.
  private static func requireRoomForMPI() {
    guard let neighbours = getenv("OMPI_COMM_WORLD_LOCAL_SIZE").flatMap({ Int(String(cString: $0)) }) else { return }
    // Threads with their stacks and heaps, and 4 MiB for messages of each neighbour.
    do { try MemoryLimit.require((96 + 4 * neighbours) << 20, for: "MPI") } catch {
      // If rank 0 has the same limit, mpirun ends the others after this many seconds: its message is enough.
      let patience = getenv("OMPI_MCA_odls_base_sigkill_timeout").flatMap { UInt32(String(cString: $0)) } ?? 1
      if Launcher.rank > 0 { sleep(min(patience, 30) + 1) }
      complain(Launcher.rank > 0 ? "rank \(Launcher.rank): \(error)" : "\(error)")
      exit(error.exitStatus)
    }
  }

  /// Exits with an error from before the start of MPI, or with help.
  ///
  /// If all ranks have the same command line, only rank 0 prints.
  static func end(with error: any Error) -> Never {
    let isFault = Train.exitCode(for: error) != .success
    let rank = Launcher.rank
    if !isFault {
      exit(rank == 0 ? tell(Train.fullMessage(for: error)) : 0)
    }
    Launcher.letRankZeroSpeak()
    if rank == 0 || !Launcher.hasOneCommandLine { complain(sentence(of: error)) }
    exit(exitStatus(of: error) ?? Train.exitCode(for: error).rawValue)
  }

  /// Prints how to resume if the job is being ended from outside and this rank cannot end cleanly: another rank has died, or
  /// the first step has not been reached.
  ///
  /// The launcher sends SIGTERM to the remaining ranks and kills them about a second later. Rank 0 prints, and rank 1 in case
  /// rank 0 has died. A rank that has work to do prints nothing: it may well end cleanly.
  static func tellHowToResume(rank: Int, checkpoint: String?, neighbours: Neighbours) {
    // If a launcher other than mpirun sent the signal, there is time.
    let longWait = getenv("OMPI_COMM_WORLD_RANK") != nil ? Duration.milliseconds(700) : .seconds(5)
    Thread.detachNewThread {
      while !StopSignal.isRequested { usleep(50_000) }
      let isStarting = StopSignal.answer == .none
      if isStarting { usleep(400_000) }
      while true {
        if isEnding.load(ordering: .acquiring) { return }
        var state: String?
        if let lost = neighbours.lost {
          state = "because rank \(lost) has ended"
        } else if StopSignal.answer == .none {
          state = "before it took a step"
        } else if StopSignal.answer == .awaited, neighbours.areOthersElsewhere, CurrentWait.duration > longWait {
          state = "and still waits for others; if one of them failed, the job is lost"
        }
        if let state {
          if rank < 2 {
            complain("rank \(rank) was asked to end \(state): \(wayOn(checkpoint))")
          }
          if isStarting || neighbours.lost != nil {
            // A launcher that ends a job may not read the output of a rank that has exited.
            usleep(500_000)
            _exit(75)
          }
          return
        }
        usleep(50_000)
      }
    }
  }

  /// Runs `body`; an error of this rank alone, which ends the job, also states how to resume the run.
  ///
  /// Of ranks that have waited too long, the lowest that is not awaited ends the job before the others say the same.
  static func tellingWayOn<Result>(_ checkpoint: String?, rank: Int, _ body: () throws -> Result) throws -> Result {
    do { return try body() } catch let error where !isAgreed(error) {
      let awaited = (error as? ExchangeError)?.awaited ?? []
      func isAwaited(_ rank: Int) -> Bool { awaited.contains { $0 == "rank \(rank)" || $0.hasPrefix("rank \(rank) ") } }
      if !awaited.isEmpty, (0..<rank).contains(where: { !isAwaited($0) }) {
        sleep(1)
        // The launcher has been told, and ends this rank in a moment.
        if StopSignal.isRequested { sleep(10) }
      }
      throw LostJob(description: "\(error); \(wayOn(checkpoint))", exitStatus: exitStatus(of: error) ?? 70)
    }
  }

  /// How to resume after a lost job.
  private static func wayOn(_ checkpoint: String?) -> String {
    checkpoint.map { "start it again with --resume: its checkpoints are in \($0)" } ?? "it had no --checkpoint to resume from"
  }

  /// The error that ended the job, with how to resume.
  private struct LostJob: ExitStatusProviding, CustomStringConvertible {
    let description: String
    let exitStatus: Int32
  }

  /// Prints a result of one or more lines, and returns the exit status: 74 if standard output accepts no more.
  static func tell(_ text: String) -> Int32 {
    do { try StandardStreams.write(text + "\n") } catch {
      complain("\(error)")
      return error.exitStatus
    }
    return 0
  }

  /// Rejects a configuration that every rank of a job reads but only one can: standard input, or a pipe.
  static func checkConfiguration(_ name: String?) throws(OptionError) {
    func number(_ variable: String) -> Int? { getenv(variable).flatMap { Int(String(cString: $0)) } }
    let ranks = number("OMPI_COMM_WORLD_SIZE") ?? (number("PMIX_RANK") == nil ? 1 : number("SLURM_NTASKS") ?? 1)
    guard ranks > 1, let name, !InputFile.isFile(name) else { return }
    throw OptionError("--config \(name): all \(ranks) ranks read it, and what one reads is lost to the others; name a file")
  }

  /// Throws if a specification names no data, before MPI starts.
  static func check(data: String) throws(OptionError) {
    do { _ = try datasets.make(data) } catch { throw OptionError("--data: \(error)") }
  }

  /// Prints one line for each fault on standard error.
  static func complain(_ text: String) {
    let lines = text.split(separator: "\n").map { "train: \($0)\n" }.joined()
    _ = Array(lines.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  /// Whether all ranks throw this error together, so that one can print it for all.
  private static func isAgreed(_ error: any Error) -> Bool {
    switch error {
    case is TrainingError, is CheckpointError, is OptionError: true
    default: isOnAllRanks(error)
    }
  }

  /// The fault in the command line.
  private static func sentence(of error: any Error) -> String {
    if exitStatus(of: error) != nil { return "\(error)" }
    let arguments = CommandLine.arguments.dropFirst()
    let command = arguments.first
    let known =
      switch command {
      case "evaluate": ["checkpoint", "data", "seed", "help"]
      case "sample": Train.Sample.optionNames
      case "describe": Train.Describe.optionNames
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
