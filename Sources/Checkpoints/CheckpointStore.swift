internal import Files
internal import Glibc
public import MPI

/// A directory of checkpoints that the ranks of a job share.
///
/// A checkpoint is a directory `step-00000100` with `model.safetensors` (the parameters by name), one `state-00003.safetensors`
/// per rank, and `run.json` (step, ranks, options, counters, hashes of the other files). It is written under a name that
/// begins with a dot and ends in `.partial`, brought to the disk, and renamed: under its own name it is complete.
/// Every function is collective, and the ranks agree on what any of them sees fail.
public final class CheckpointStore {
  /// What was found when the store was opened.
  public struct Opening {
    /// The checkpoint to go on from, if that was asked for and there is one.
    public let run: SavedRun?
    /// What people should know: damaged checkpoints that were passed over, or that there was none.
    public let notes: [String]
  }

  /// The directory that holds the checkpoints.
  public let directory: String
  let world: Communicator
  var agreement: Agreement
  /// How many checkpoints stay.
  let keep: Int
  /// The newest complete checkpoint that this run wrote or went on from.
  var newest: (step: Int, path: String)?
  /// Where the ranks are, for the record of what is saved from now on; nil where that is not known.
  public var placement: Placement?
  /// Directories that are damaged: they neither count nor stand in the way of a new one.
  var damaged: Set<String> = []
  /// Whether the warning about a checkpoint that could not be written has been given.
  var hasWarned = false
  /// Rank 0 holds a lock on the directory while the store lives, so that no other job writes there.
  private var lock: Int32 = -1
  /// Seconds to wait for that lock: a job that was just killed may need a moment to vanish.
  private let patience: Double

  /// A store in `directory`, which every host sees; the newest `keep` checkpoints stay, at least one.
  ///
  /// Collective.
  public convenience init(directory: String, on world: Communicator, keep: Int = 2) throws {
    try self.init(directory: directory, on: world, keep: keep, patience: 10)
  }

  /// A store that waits `patience` seconds for another job to let go of the directory; collective.
  package convenience init(directory: String, on world: Communicator, keep: Int = 2, patience: Double) throws {
    try self.init(
      directory: directory, over: Agreement(world: world, activity: "a checkpoint"), keep: keep, patience: patience)
  }

  /// A store whose ranks agree by `agreement`.
  package init(directory: String, over agreement: Agreement, keep: Int = 2, patience: Double = 10) {
    precondition(keep >= 1, "a store keeps at least one checkpoint")
    self.directory = directory
    self.keep = keep
    self.patience = patience
    self.agreement = agreement
    world = agreement.world
  }

  deinit { close() }

  /// Lets other jobs use the directory; nothing is saved after this.
  ///
  /// Not collective.
  public func close() {
    if lock >= 0 { _ = Glibc.close(lock) }
    lock = -1
  }

  /// Prepares the directory before the run starts, and finds the checkpoint to go on from.
  ///
  /// The directory is made where it is not there, and every rank tries to write in it. What an interrupted job left unfinished
  /// is removed. With `resume` the newest checkpoint whose hashes verify is taken, whatever its directory is called; the ranks share
  /// the reading. Another job that writes there is waited for, up to ten seconds, before anything is looked at.
  /// Throws `CheckpointError` on every rank alike: where a rank cannot write there, another job does, checkpoints are there
  /// without `resume`, none of them is whole, or the directory is itself a checkpoint.
  public func open(resume: Bool) throws -> Opening {
    var names: [String] = []
    let problem = problem { if world.rank == 0 { names = try prepare(resume: resume) } }
    if let (_, error) = try agreement.firstProblem(problem) {
      close()
      throw error
    }
    try probe()
    names = try agreement.share(names.joined(separator: "/")).split(separator: "/").map(String.init)
    guard resume else { return Opening(run: nil, notes: []) }
    return try newest(of: names)
  }

  /// Rank 0's part of ``open(resume:)``: gives the checkpoints that are there, the newest first.
  private func prepare(resume: Bool) throws -> [String] {
    try SavedRun.refuseStore(in: directory)
    try Directory.make(directory)
    // First: a job that has the lock may write and remove checkpoints until it lets go.
    try takeLock()
    let names = try SavedRun.names(in: directory)
    if !resume, let name = names.first {
      throw CheckpointError(
        .configuration,
        "\(directory) already holds the checkpoint \(name); add --resume to go on from it, or name another directory")
    }
    try SavedRun.removeLeftovers(in: directory)
    return names
  }

  /// Makes sure that no other job writes here; the lock ends with the process, however it ends.
  private func takeLock() throws {
    let descriptor = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError.last("read the directory", directory) }
    lock = descriptor
    let deadline = ContinuousClock.now + .seconds(patience)
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // File systems without locks have to do without this check.
      guard errno == EWOULDBLOCK else { return }
      guard ContinuousClock.now < deadline else {
        throw CheckpointError(.configuration, "another job is writing its checkpoints in \(directory)")
      }
      usleep(50_000)
    }
  }

  /// Every rank writes a small file, and looks for the one of rank 0: the directory must be the same one on all hosts.
  private func probe() throws {
    let token = try agreement.share(world.rank == 0 ? hexadecimal(.random(in: 0 ... .max)) : nil)
    func path(_ rank: Int) -> String { "\(directory)/\(SavedRun.probeName(token, rank: rank))" }
    func write() throws {
      var file = try File(path(world.rank), .write)
      try file.write(Array("probe\n".utf8))
      try file.finish()
    }
    var found = try agreement.firstProblem(world.rank == 0 ? problem(of: write) : nil)
    if found == nil {
      found = try agreement.firstProblem(
        problem {
          guard world.rank != 0 else { return }
          // A network file system may take a moment to show a file made elsewhere.
          for _ in 0..<50 where !Directory.exists(path(0)) { usleep(100_000) }
          guard Directory.exists(path(0)) else {
            throw CheckpointError(.inputOutput, "\(directory) is not the directory that rank 0 sees; all hosts must share it")
          }
          try write()
        })
    }
    try? Directory.remove(path(world.rank))
    guard let (rank, error) = found else { return }
    let place = rank == 0 ? "" : "rank \(rank) on \(try name(of: rank)): "
    throw CheckpointError(.inputOutput, "\(place)\(error)")
  }

  /// The host of a rank.
  private func name(of rank: Int) throws -> String {
    try agreement.share(world.rank == rank ? world.processorName : nil, from: rank)
  }

  /// The first of `names` that is whole.
  private func newest(of names: [String]) throws -> Opening {
    guard !names.isEmpty else {
      return Opening(run: nil, notes: ["nothing to resume in \(directory): the run starts from the beginning"])
    }
    var notes: [String] = []
    for name in names {
      switch try verify("\(directory)/\(name)") {
      case .success(let run):
        newest = (run.step, run.path)
        return Opening(run: run, notes: notes)
      case .failure(let error):
        damaged.insert(name)
        notes.append("checkpoint \(name) cannot be used: \(error)")
      }
    }
    throw CheckpointError(.configuration, "no checkpoint in \(directory) is whole; \(notes.joined(separator: "; "))")
  }

  /// Reads the record of the checkpoint at `path` and compares every file with it; the ranks share the files.
  package func verify(_ path: String) throws -> Result<SavedRun, CheckpointError> {
    var text = ""
    let unreadable = problem { if world.rank == 0 { text = try File.text("\(path)/\(SavedRun.recordName)") } }
    if let (_, error) = try agreement.firstProblem(unreadable) { return .failure(error) }
    text = try agreement.share(text)
    let run: SavedRun
    // Every rank reads the same text, so that all come to the same end here.
    do throws(CheckpointError) { run = try SavedRun(record: text, path: path) } catch { return .failure(error) }
    let mismatch = problem {
      for index in stride(from: world.rank, to: run.files.count, by: world.count) { try run.verify(run.files[index]) }
    }
    if let (_, error) = try agreement.firstProblem(mismatch) { return .failure(error) }
    return .success(run)
  }
}
