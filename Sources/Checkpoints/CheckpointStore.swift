internal import Buffers
internal import Files
internal import Glibc
public import MPI

/// A directory of checkpoints that the ranks of a job share.
///
/// A checkpoint is a directory `step-00000100` with `model.safetensors` (the parameters by name), one `state-00003.safetensors`
/// per rank, and `run.json` (step, ranks, options, counters, hashes of the other files). It is written under a name that begins
/// with a dot and ends in `.partial`, synchronized to disk, and renamed: under its own name it is complete.
/// Every function is collective, and the ranks agree on failures that any of them sees.
public final class CheckpointStore {
  /// The result of opening the store.
  public struct Opening {
    /// The checkpoint to resume from, if requested and present.
    public let run: SavedRun?
    /// Notes for the user: damaged checkpoints that were skipped, or that there was none.
    public let notes: [String]
  }

  /// The directory that holds the checkpoints.
  public let directory: String
  let world: Communicator
  var agreement: Agreement
  /// The number of checkpoints to keep.
  let keep: Int
  /// The newest complete checkpoint that this run wrote or resumed from.
  var newest: (step: Int, path: String)?
  /// Where the ranks are, for the record of later checkpoints; nil if unknown.
  public var placement: Placement?
  /// Damaged directories: they do not count, and do not prevent a new checkpoint.
  var damaged: Set<String> = []
  /// Whether the warning about a failed checkpoint has been given.
  var hasWarned = false
  /// Rank 0's lock on the directory while the store lives, so that no other job writes there.
  private var lock: Int32 = -1
  /// Seconds to wait for that lock: a job that was just killed may need a moment to exit.
  private let patience: Double

  /// A store in `directory`, which every host must see; it keeps the newest `keep` checkpoints, at least one.
  ///
  /// Collective.
  public convenience init(directory: String, on world: Communicator, keep: Int = 2) throws {
    try self.init(directory: directory, on: world, keep: keep, patience: 10)
  }

  /// A store that waits up to `patience` seconds for another job to release the directory.
  ///
  /// Collective.
  package convenience init(directory: String, on world: Communicator, keep: Int = 2, patience: Double) throws {
    try self.init(
      directory: directory, over: Agreement(world: world, activity: "a checkpoint"), keep: keep, patience: patience)
  }

  /// A store whose ranks agree through `agreement`.
  package init(directory: String, over agreement: Agreement, keep: Int = 2, patience: Double = 10) {
    require(keep >= 1, "a store keeps at least one checkpoint")
    self.directory = directory
    self.keep = keep
    self.patience = patience
    self.agreement = agreement
    world = agreement.world
  }

  deinit { close() }

  /// Releases the directory for other jobs; nothing is saved after this.
  ///
  /// Not collective.
  public func close() {
    if lock >= 0 { _ = Glibc.close(lock) }
    lock = -1
  }

  /// Prepares the directory before the run starts, and finds the checkpoint to resume from.
  ///
  /// The directory is created if it is missing, and every rank tries to write in it. What an interrupted job left unfinished is
  /// removed. With `resume` the newest checkpoint whose hashes verify is used, whatever its directory is called; the ranks
  /// share the reading. If another job writes there, waits up to ten seconds for it before anything is read.
  /// Throws the same `CheckpointError` on every rank if a rank cannot write there, another job does, checkpoints exist without
  /// `resume`, none of them is complete, or the directory is itself a checkpoint.
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

  /// Rank 0's part of ``open(resume:)``: returns the existing checkpoints, the newest first.
  private func prepare(resume: Bool) throws -> [String] {
    try SavedRun.refuseStore(in: directory)
    try Directory.make(directory)
    // First: a job that holds the lock may write and remove checkpoints until it releases it.
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

  /// Ensures that no other job writes here; the lock ends with the process, however it ends.
  private func takeLock() throws {
    let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError.last("read the directory", directory) }
    lock = descriptor
    let deadline = ContinuousClock.now + .seconds(patience)
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // File systems without locks go without this check.
      guard errno == EWOULDBLOCK else { return }
      guard ContinuousClock.now < deadline else {
        throw CheckpointError(.configuration, "another job is writing its checkpoints in \(directory)")
      }
      usleep(50_000)
    }
  }

  /// Every rank writes a small file and looks for rank 0's: the directory must be the same one on all hosts.
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

  /// The first of `names` that is complete.
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
    throw CheckpointError(.configuration, "no checkpoint in \(directory) is complete; \(notes.joined(separator: "; "))")
  }

  /// Reads the record of the checkpoint at `path` and compares every file with it; the ranks share the files.
  package func verify(_ path: String) throws -> Result<SavedRun, CheckpointError> {
    var text = ""
    let unreadable = problem { if world.rank == 0 { text = try File.text("\(path)/\(SavedRun.recordName)") } }
    if let (_, error) = try agreement.firstProblem(unreadable) { return .failure(error) }
    text = try agreement.share(text)
    let run: SavedRun
    // Every rank reads the same text, so that all get the same result here.
    do throws(CheckpointError) { run = try SavedRun(record: text, path: path) } catch { return .failure(error) }
    let mismatch = problem {
      for index in stride(from: world.rank, to: run.files.count, by: world.count) { try run.verify(run.files[index]) }
    }
    if let (_, error) = try agreement.firstProblem(mismatch) { return .failure(error) }
    return .success(run)
  }
}
